"""Parts: reading and committing the Parquet file that a part has in each column family."""
