;; A task module by hand, without any SDK: `wasmp call examples/wat-task/echo.wat echo '{"a": [1, 2]}'`.
;; The contract it keeps is guest-sdk/abi/README.md.
(module
  (import "wasmp_v1" "task_next" (func $task_next (param i32 i32) (result i64)))
  (import "wasmp_v1" "task_return" (func $task_return (param i32 i32)))
  (import "wasmp_v1" "task_fail" (func $task_fail (param i32 i32 i32)))

  ;; The first 64 KiB are for constants, the second for an item.
  (memory (export "memory") 2)
  (data (i32.const 0) "expected 1 argument (value: any)")
  (data (i32.const 32) "the argument is longer than 64 KiB")

  (func (export "wasmp_task_echo")
    (local $length i64)
    (loop $items
      (local.set $length (call $task_next (i32.const 65536) (i32.const 65536)))
      (if (i64.lt_s (local.get $length) (i64.const 0))
        (then (return)))
      (if (i64.gt_u (local.get $length) (i64.const 65536))
        (then
          (call $task_fail (i32.const 2) (i32.const 32) (i32.const 34))
          (br $items)))
      ;; 0x81: an array of one. What follows is the argument, and now the result.
      (if (i32.ne (i32.load8_u (i32.const 65536)) (i32.const 0x81))
        (then
          (call $task_fail (i32.const 2) (i32.const 0) (i32.const 32))
          (br $items)))
      (call $task_return
        (i32.const 65537)
        (i32.sub (i32.wrap_i64 (local.get $length)) (i32.const 1)))
      (br $items)))

  (@custom "wasmp.abi" "1")
  (@custom "wasmp.tasks"
    "\a6"
    "\64name" "\64echo"
    "\66export" "\6fwasmp_task_echo"
    "\65crate" "\64echo"
    "\63doc" "\78\1aReturns what it was given."
    "\66params" "\81\82" "\65value" "\63any"
    "\67returns" "\63any"))
