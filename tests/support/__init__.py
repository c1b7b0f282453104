"""What several tests share: a market that answers by hand."""
