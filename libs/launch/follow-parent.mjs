/**
 * Loaded into every child of the supervisor by `node --import`: when the process that started it is gone, however it went, the
 * channel between them closes, and the child drains as on SIGTERM. One that hangs then is ended.
 */
const HANGING_MS = 30_000;

process.once('disconnect', () => {
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.exit(1), HANGING_MS).unref();
});
// The channel alone does not keep the process alive.
process.channel?.unref();
