"""Kafka and HBase for one machine: the real servers, started and stopped by the broker."""
