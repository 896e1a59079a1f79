# Many that wait, and no place: those that would fit come first, and nobody spins.

quiet
leader start
tm add tm-8 slots=12
submit a parallelism=3 interval=1s
submit b parallelism=3 interval=1s
submit c parallelism=3 interval=1s
submit d parallelism=2 interval=1s
submit e parallelism=1 interval=1s
until e RUNNING
tm hold tm-8 committed
run 1500ms
cancel a
cancel b
cancel c
cancel d
cancel e
tm kill tm-8
run 3s
tm add tm-9 slots=1
run 500ms
show e
show a
----
  status=CANCELED attempt=2 restarts=1 counted=0 newest=1 committed=1 failures=1
  status=CANCELLING attempt=1 restarts=0 counted=0 newest=1 committed=0 failures=0 trouble: waits for slots: 3 needed, 0 free on 0 TaskManagers
