"""The commands of the daemon, one a file. Each gets the path of the settings as click's object."""
