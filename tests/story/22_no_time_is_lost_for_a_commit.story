# The end of a job waits for a commit while nobody could have made it.

# A leader that may not decide, or not record, does not use up the commit timeout.

quiet
leader start
tm add tm-5 slots=2
submit first parallelism=2 interval=1s
until first RUNNING
tm hold tm-5 committed
run 1500ms
cancel first
tm kill tm-5
run 4s
leader suspend
run 30s
tm add tm-6 slots=2
loud
leader resume
run 500ms
quiet
submit second parallelism=2 interval=1s
until second RUNNING
tm hold tm-6 committed
run 1500ms
cancel second
tm kill tm-6
run 4s
tm add tm-7 slots=2
store full
run 30s
store free
run 2s
loud
show second
----
[  35.543s] goes on leading with epoch 1
[  35.546s] job=first/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 1, delay 0 ms: only to commit
[  35.546s] job=first/aaaaaaaa region 0 attempt 2 placed: tm-6 x2
[  35.547s]   tm-6 <- prepare attempt=2
[  35.553s]   tm-6 <- run attempt=2 ckpt=1 only to commit
[  35.564s]   tm-6 <- complete attempt=2 ckpt=1
[  35.572s] job=first/aaaaaaaa CANCELLING -> CANCELED: what was completed is committed
[  35.573s]   tm-6 <- cancel attempt=2 ckpt=1 terminal
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1

