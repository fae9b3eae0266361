"""`/servers`: what people see of each server, and its life from adding to deleting."""
