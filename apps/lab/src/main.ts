/** What `npm run lab -- COMMAND` can do; each is loaded when it is asked for, and gives the exit code. */
const commands: Readonly<Record<string, { summary: string; run(args: readonly string[]): Promise<number> }>> = {
  load: {
    summary: 'a load scenario: thousands of sessions against a gateway, with a report',
    run: async (args) => (await import('./load/command.js')).load(args),
  },
  simulate: {
    summary: 'a bad moment: all tokens expire at once, a tenant floods the login, programs ask for guests',
    run: async (args) => (await import('./simulate/command.js')).simulate(args),
  },
};

async function main([name, ...args]: readonly string[]): Promise<number> {
  const command = name === undefined ? undefined : commands[name];
  if (command) return command.run(args);
  const help = name === undefined || name === 'help' || name === '--help' || name === '-h';
  const list = Object.entries(commands).map(([key, { summary }]) => `  ${key.padEnd(10)} ${summary}`);
  const text = `Usage: npm run lab -- COMMAND …\n\n${list.join('\n')}\n\nEach command explains itself with --help.\n`;
  if (help) process.stdout.write(text);
  else process.stderr.write(`There is no command ${name}.\n\n${text}`);
  return help ? 0 : 2;
}

process.exitCode = await main(process.argv.slice(2));
