"""The key holder's tools, by subject: store and command beside each other."""
