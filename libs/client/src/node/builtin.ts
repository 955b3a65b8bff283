type FileSystem = typeof import('node:fs/promises');
interface NodeProcess {
  readonly pid: number;
  kill(pid: number, signal: 0): void;
  getBuiltinModule(name: string): unknown;
}

/** Node's own process; asked for by name, so that a bundler for browsers finds nothing to resolve. */
export function nodeProcess(): NodeProcess {
  const { process } = globalThis as { process?: Partial<NodeProcess> };
  if (process?.getBuiltinModule === undefined) throw new Error('this needs Node 20.16 or newer');
  return process as NodeProcess;
}

export function fileSystem(): FileSystem {
  return nodeProcess().getBuiltinModule('node:fs/promises') as FileSystem;
}

export function hostName(): string {
  return (nodeProcess().getBuiltinModule('node:os') as typeof import('node:os')).hostname();
}

/** The errno code of a failed file operation, else undefined. */
export function errorCode(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}
