"""How much traffic a model on a GPU can take, under a latency target and with queues."""
