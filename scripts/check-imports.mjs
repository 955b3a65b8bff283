/**
 * Checks who may import whom (CONTRIBUTING.md, "Boundaries"). Run by `npm test`; exits with 1 and one line per fault.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From the ground up. A package imports from its own layer or from a lower one. */
const LAYERS = [
  ['contract', 'problem', 'config'],
  ['wire', 'transcode', 'limit', 'identity', 'client'],
  ['storage', 'telemetry', 'nest-transport'],
  ['service', 'nest-transport'],
];
const layerOf = (name) => LAYERS.findIndex((layer) => layer.includes(name));

/** Packages for the workbench: production code imports none of them. */
const WORKBENCH = ['launch', 'testing'];

/** Code that must run anywhere: no framework, driver or socket. */
const PURE = [
  { files: /^libs\/transcode\/src\//, what: 'libs/transcode' },
  { files: /^libs\/limit\/src\/(?!.*redis)/, what: 'libs/limit outside its Redis store' },
  { files: /^libs\/client\/src\/(?!.*node)/, what: 'libs/client outside its Node parts' },
];
const IMPURE =
  /^(@nestjs\/|@grpc\/|typeorm|pg$|ioredis|fastify|rxjs|node:(net|tls|http|https|http2|dgram|dns|child_process|cluster)\b)/;

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s+(?:type\s)?(?:[^'";]*?\sfrom\s+)?['"](?<static>[^'"]+)['"]|\bimport\(\s*['"](?<dynamic>[^'"]+)['"]\s*\)/g;

/** A group of files with a package.json: `libs/x`, `apps/x`, or `e2e` and `bench`, which share the root's. */
const packageOf = (path) => /^(?:libs|apps)\/[^/]+|^[^/]+/.exec(path)[0];
const isTest = (path) => /\.(test|bench|fixture)\.ts$/.test(path) || /^(e2e|bench|libs\/testing)\//.test(path);
const isApp = (folder) => folder.startsWith('apps/');

/**
 * @param files path → text of every TypeScript file
 * @param packages folder → parsed package.json; `.` is the root's
 * @returns one sentence per fault
 */
export function findFaults(files, packages) {
  const faults = [];
  const folderOfName = new Map(Object.entries(packages).map(([folder, { name }]) => [name, folder]));
  const packageEdges = new Map();

  for (const [path, text] of Object.entries(files)) {
    const folder = packageOf(path);
    const manifest = packages[folder] ?? packages['.'];
    for (const { groups } of withoutComments(text).matchAll(IMPORT)) {
      const target = groups.static ?? groups.dynamic;
      const fault = (sentence) => faults.push(`${path} imports ${target}: ${sentence}`);
      if (target.startsWith('.')) {
        const resolved = normalize(join(dirname(path), target)).replace(/\.js$/, '.ts');
        // Peers and data of tests are for every test.
        const shared = isTest(path) && resolved.includes('/testdata/');
        if (packageOf(resolved) !== folder && !shared)
          fault('a relative import stays in its package; import the package by its name');
      } else if (!/^(node:|\/)/.test(target)) {
        checkPackage(path, folder, manifest, target, fault);
      }
      const pure = PURE.find(({ files: where }) => where.test(path) && !isTest(path));
      if (pure && IMPURE.test(target)) fault(`${pure.what} imports no framework, driver or socket`);
    }
  }
  for (const cycle of findCycles(packageEdges))
    faults.push(`packages import each other in a circle: ${cycle.join(' → ')}`);
  return faults;

  function checkPackage(path, folder, manifest, target, fault) {
    const [scopeOrName, second] = target.split('/');
    const name = target.startsWith('@') ? `${scopeOrName}/${second}` : scopeOrName;
    // A benchmark measures what was built, and a fixture may run as a process of its own, as users get it.
    if (name === manifest.name)
      return /\.(bench|fixture)\.ts$/.test(path) ? undefined : fault('inside a package, imports are relative');
    const test = isTest(path);
    const declared = { ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies };
    const forTests = { ...declared, ...manifest.devDependencies, ...packages['.'].devDependencies };
    if (
      !(name in (test ? forTests : declared)) &&
      !(test && name.startsWith('@sluice/') && manifest === packages['.'])
    ) {
      fault(`it is not declared in ${folder}/package.json`);
    }
    const to = folderOfName.get(name);
    if (to === undefined) return undefined;
    if (target !== name) fault('nobody imports past a package’s index.ts');
    if (isApp(to) && (!test || isApp(folder))) fault('nothing imports an app');
    if (test) return undefined;
    add(packageEdges, folder, to);
    const [from, onto] = [folder, to].map((place) => place.split('/')[1]);
    if (WORKBENCH.includes(onto) && !WORKBENCH.includes(from))
      fault('only tests, e2e, bench and scripts use the workbench');
    if (!isApp(folder) && layerOf(from) !== -1 && layerOf(onto) > layerOf(from)) {
      fault(`libs/${from} stands below libs/${onto}`);
    }
    return undefined;
  }
}

function add(edges, from, to) {
  if (!edges.has(from)) edges.set(from, new Set());
  edges.get(from).add(to);
}

/** Each circle once, as the names along it. */
function findCycles(edges) {
  const cycles = [];
  const finished = new Set();
  const path = [];
  const visit = (node) => {
    if (finished.has(node)) return;
    const at = path.indexOf(node);
    if (at !== -1) {
      cycles.push([...path.slice(at), node]);
      return;
    }
    path.push(node);
    for (const next of edges.get(node) ?? []) visit(next);
    path.pop();
    finished.add(node);
  };
  for (const node of edges.keys()) visit(node);
  return cycles;
}

/** Documentation may show imports. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

function readTree(root) {
  const files = {};
  const packages = { '.': readJson(join(root, 'package.json')) };
  const sources = ['e2e', 'bench'];
  for (const group of ['libs', 'apps']) {
    for (const name of readdirSync(join(root, group))) {
      const manifest = join(root, group, name, 'package.json');
      if (!existsSync(manifest)) continue;
      packages[`${group}/${name}`] = readJson(manifest);
      sources.push(`${group}/${name}/src`);
    }
  }
  for (const source of sources) {
    if (!existsSync(join(root, source))) continue;
    for (const file of readdirSync(join(root, source), { recursive: true })) {
      if (file.endsWith('.ts') && !file.startsWith('generated'))
        files[`${source}/${file}`] = readFileSync(join(root, source, file), 'utf8');
    }
  }
  return { files, packages };
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { files, packages } = readTree(fileURLToPath(new URL('..', import.meta.url)));
  const faults = findFaults(files, packages);
  for (const fault of faults) console.error(fault);
  console.log(`${Object.keys(files).length} files checked, ${faults.length} faults`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
