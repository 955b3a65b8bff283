import { relative } from 'node:path';

/** What `npm start` prints when all is ready: where things are, and four commands to paste. */
export function quickStart(root, system, took) {
  const url = system.plan.gatewayUrl;
  const rows = system.processes.map(({ name, instance, logFile, pid }) => [
    name,
    name === 'gateway' ? url : `grpc://${instance.address}`,
    `${instance.adminUrl}/metrics`,
    relative(root, logFile),
    `pid ${pid}`,
  ]);
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const table = rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column])).join('  ')}`.trimEnd());
  const { database } = system;
  return `
Sluice is ready at ${url} (${took})

${table.join('\n')}
  data      ${database ? `${place(root, database.server.dataDir)} (Postgres on port ${database.server.port}, password in .sluice/secrets/postgres-password)` : 'the Postgres of DATABASE_URL'}
  secrets   .sluice/secrets

Try it (paste all four lines, as often as you like; the second time the account is there already):

${commands(url).join('\n')}

Ctrl-C stops everything; the data stays. \`npm run reset\` removes it.
`;
}

/** Within the checkout a path is shown from there. */
function place(root, path) {
  const from = relative(root, path);
  return from.startsWith('..') ? path : from;
}

/** Register, log in, allocate, free: for sh, bash and zsh. */
export function commands(url) {
  const json = `-H 'content-type: application/json'`;
  const account = `"email":"ada@example.com","password":"correct horse battery staple"`;
  return [
    `curl -sS -w '\\n' ${url}/api/v1/auth/register ${json} -d '{${account}}'`,
    `TOKEN=$(curl -sS ${url}/api/v1/auth/login ${json} -d '{${account}}' | sed -n 's/.*"access_token": *"\\([^"]*\\)".*/\\1/p'); echo "token: $(echo "$TOKEN" | cut -c1-32)..."`,
    `ID=try-$(date +%s); curl -sS -w '\\n' ${url}/api/v1/alloc -H "authorization: Bearer $TOKEN" ${json} -d '{"request_id":"'$ID'","token_count":100}'`,
    `curl -sS -w '\\n' ${url}/api/v1/free -H "authorization: Bearer $TOKEN" ${json} -d '{"request_id":"'$ID'"}'`,
  ];
}
