"""The ledger of device license keys."""
