;; The tasks of this example, as small as they get: each exported function of numbers is one.
(module
  (func (export "square") (param $x i64) (result i64)
    (i64.mul (local.get $x) (local.get $x)))

  ;; Division by zero traps.
  (func (export "divide") (param $dividend i64) (param $divisor i64) (result i64)
    (i64.div_s (local.get $dividend) (local.get $divisor)))

  ;; Never returns.
  (func (export "spin") (loop $for_ever (br $for_ever))))
