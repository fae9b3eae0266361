"""What the machine knows of its disks: mounts, arrays, file systems that check themselves, SMART."""
