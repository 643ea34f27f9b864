"""Modal as a place: serverless GPUs, reached with the official client.

offers.yaml  what there is to rent, with limits: data; the prices are in the price book
gpus.py      GPU names and counts, read and checked
estimate.py  which GPU a fine-tune fits on, and how long it may take, by the models of memory and time: pure
cap.py       timeout and attempts from a budget: pure
decide.py    from options and a spec to the launch request: pure
image.py     which packages the container gets: pure
service.py   the one module that talks to Modal
files.py     a run's files on a Volume
record.py    what is written down about a launch, before and after
launcher.py  the place as the hosted backend sees it
runner.py    what runs in the container; attempts.py counts there
orphans.py   apps without a record, records without an app
"""
