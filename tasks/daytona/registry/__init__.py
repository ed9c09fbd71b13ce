"""Images into Daytona's registry."""
