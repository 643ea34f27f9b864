"""Modal: serverless GPUs, reached with the official client.

offers.yaml  what there is to rent, with limits: data; the prices are in the price book
gpus.py      GPU names and counts, read and checked
estimate.py  which GPU a fine-tune fits on, and how long it may take, by the models of memory and time: pure
limits.py    timeout and attempts from a budget: pure
billing.py   what Modal bills for a run: pure
options.py      the arguments of `Modal(...)`, and which of them Modal doesn't offer
plan_launch.py  from options and a spec to the launch request: pure
image.py     which packages the container gets: pure
client.py    calls of Modal's client; client_errors.py turns its errors into ours
volume.py    files on a Volume: list, read, write
apps.py      apps and calls: find, launch, stop; function.py registers the runner
files.py     a run's files on the Volume
record.py    what is recorded about a launch, before and after
record_end.py  the end of a run whose worker couldn't write it
launcher.py  the launcher as the hosted backend sees it
runner.py    what runs in the container; attempts.py counts there, cluster.py finds the other hosts
orphans.py   apps without a record, records without an app
"""
