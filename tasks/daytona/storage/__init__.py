"""Build contexts into Daytona's object storage."""
