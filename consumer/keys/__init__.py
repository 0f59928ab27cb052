"""Where the key ring comes from."""
