"""The ledger of device license keys: who holds which, and every move of each."""
