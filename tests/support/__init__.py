"""What several tests share: records, vaults, servers, the command."""
