/** Asks the process of this container for its readiness on its admin port. Exit code 0: ready. */
const setting = `${process.env.APP.toUpperCase()}_ADMIN_PORT`;
const usual = { user: 9051, allocator: 9052, postcard: 9053, gateway: 9084 };
const port = process.env[setting] || usual[process.env.APP];
const host = process.env.ADMIN_HOST === '0.0.0.0' ? '127.0.0.1' : process.env.ADMIN_HOST;

try {
  const response = await fetch(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(2_500) });
  if (!response.ok) console.error(await response.text());
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  console.error(error.cause?.message ?? error.message);
  process.exitCode = 1;
}
