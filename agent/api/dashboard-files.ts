import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** A file of the dashboard, as it is served. */
export interface DashboardFile {
  readonly type: string;
  /** Reads it when it is first asked for. */
  readonly content: () => Promise<{ readonly body: Buffer; readonly etag: string }>;
}

/** What the build has put together for browsers. */
const DASHBOARD = new URL('../../dashboard/', import.meta.url);

/** What its modules import of shared/. */
const SHARED_MODULES = ['errors.js', 'migration-forecast.js', 'page.js', 'round-figures.js', 'units.js'];

/** Libraries by the names that dashboard/vendor/ gives them. */
const LIBRARIES: readonly (readonly [name: string, file: URL])[] = [
  // as one script, beside the module that its package exports
  ['chart.js', new URL('./chart.umd.min.js', import.meta.resolve('chart.js'))],
  // what the package has for Node.js lies in a folder of its own
  ...filesOf('lit-html', new URL('../', import.meta.resolve('lit-html')), [
    'lit-html.js',
    'directive.js',
    'directive-helpers.js',
    'directives/repeat.js',
  ]),
  ...filesOf('eventsource-parser', new URL('./', import.meta.resolve('eventsource-parser')), [
    'index.js',
    'stream.js',
  ]),
];

/** Files with another name's end are not served. */
const TYPES = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.svg', 'image/svg+xml'],
  ['.js', 'text/javascript; charset=utf-8'],
]);

/** The files of the dashboard by their paths in URLs. It is a list: nothing of a request becomes the name of a file. */
export function dashboardFiles(): ReadonlyMap<string, DashboardFile> {
  const files = new Map<string, DashboardFile>();
  const add = (path: string, file: URL) => {
    const type = TYPES.get(extname(file.pathname));
    if (type !== undefined) files.set(path, { type, content: readOnce(file) });
  };
  add('/', new URL('index.html', DASHBOARD));
  for (const entry of readdirSync(DASHBOARD, { recursive: true, withFileTypes: true })) {
    const file = pathToFileURL(join(entry.parentPath, entry.name));
    if (entry.isFile()) add(`/dashboard/${file.href.slice(DASHBOARD.href.length)}`, file);
  }
  for (const name of SHARED_MODULES) add(`/shared/${name}`, new URL(`../../shared/${name}`, import.meta.url));
  for (const [name, file] of LIBRARIES) add(`/dashboard/vendor/${name}`, file);
  return files;
}

function filesOf(library: string, folder: URL, names: readonly string[]): [string, URL][] {
  return names.map((name) => [`${library}/${name}`, new URL(name, folder)]);
}

function readOnce(file: URL): DashboardFile['content'] {
  let read: ReturnType<DashboardFile['content']> | undefined;
  return () =>
    (read ??= readFile(fileURLToPath(file)).then((body) => ({
      body,
      etag: `"${createHash('sha256').update(body).digest('base64url')}"`,
    })));
}
