import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** How a command ended. */
export interface Ended {
  readonly out: string;
  readonly err: string;
  readonly code: unknown;
}

/** Runs a built command of this folder, such as `keys`. */
export async function runBuilt(
  name: string,
  parameters: readonly string[],
  environment: NodeJS.ProcessEnv,
  input = '',
): Promise<Ended> {
  const built = fileURLToPath(new URL(`../../dist/cli/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [built, ...parameters], { env: { ...process.env, ...environment } });
  child.stdin.end(input);
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve) => child.on('close', resolve)),
  ]);
  return { out, err, code };
}
