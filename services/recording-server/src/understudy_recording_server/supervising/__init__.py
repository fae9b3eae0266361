"""The recorder as a process of the agent: started, heard, replaced when it hangs, and switched off."""
