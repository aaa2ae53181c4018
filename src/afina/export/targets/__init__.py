"""What an adapter may be exported to; one file a target."""
