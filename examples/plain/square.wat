;; A module that knows nothing of wasmp. Each exported function of numbers is a task: `wasmp call examples/plain/square.wat square 7`.
(module
  (func (export "square") (param $x i64) (result i64)
    (i64.mul (local.get $x) (local.get $x))))
