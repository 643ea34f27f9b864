"""What a training run takes before it starts: tokens, time, memory, cost; and what this machine is off by."""
