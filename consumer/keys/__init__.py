"""Where the key ring comes from, and how it is reloaded."""
