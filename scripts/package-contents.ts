import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/**
 * For ./scripts/package: `files` prints the files of the compiled program and of the npm packages that it needs to run, a line each;
 * `copyright` prints under which licences they are, as Debian wants it (DEP 5).
 */

/** What Node.js loads. */
const LOADED = /\.(c?js|mjs|json|node|wasm)$/;
/** What npm packages have beside, by its path in them: tests, documents, and the builds of koffi for another C library than Debian's. */
const NOT_LOADED = /(^|\/)(node_modules|musl_\w+)$|^(tests?|benchmarks?|docs?|examples?|\.\w+)$/;
const LICENCE_FILE = /^(licen[cs]e|copying|notice)/i;

/** What works in a checkout alone, or is for compilers and debuggers. */
const OF_CHECKOUT =
  /^(test|scripts\/(demos?|examples|configuration-page|man-page|package-contents|test-report|write-openapi)(\.js)?)$|\.(map|d\.ts)$/;

interface Manifest {
  name: string;
  version: string;
  license?: string;
  author?: string | { name: string };
}

/** Folders of the npm packages, those nested in others by themselves. */
function packageFolders(): string[] {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { encoding: 'utf8' });
  const folders = listed
    .trim()
    .split('\n')
    .map((path) => relative('.', path));
  return folders.filter((folder) => folder !== '').sort();
}

/** Those in `folder` but for the files and folders whose path in it `leftOut` knows. */
function filesIn(folder: string, leftOut: RegExp, path = ''): string[] {
  return readdirSync(join(folder, path), { withFileTypes: true }).flatMap((entry) => {
    const inner = join(path, entry.name);
    if (leftOut.test(inner)) return [];
    return entry.isDirectory() ? filesIn(folder, leftOut, inner) : [join(folder, inner)];
  });
}

function files(): string[] {
  const packages = packageFolders().flatMap((folder) => filesIn(folder, NOT_LOADED));
  return ['package.json', ...filesIn('dist', OF_CHECKOUT), ...packages.filter((path) => LOADED.test(path))];
}

function copyright(): string {
  const own = readFileSync('LICENSE', 'utf8').trim();
  const paragraphs = packageFolders().map((folder) => {
    const {
      name,
      version,
      license = 'unknown',
      author,
    } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
    const texts = readdirSync(folder)
      .filter((file) => LICENCE_FILE.test(file))
      .sort();
    const text = texts.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n');
    const who = typeof author === 'object' ? author.name : author;
    return paragraph(
      `usr/lib/vmferry/${folder}/*`,
      `${name} ${version}`,
      license,
      text,
      who ?? `the authors of ${name}`,
    );
  });
  return [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: vmferry\n',
    paragraph('*', 'vmferry itself', 'MIT', own, 'vmferry maintainers'),
    ...paragraphs,
  ].join('\n');
}

function paragraph(path: string, comment: string, license: string, text: string, author: string): string {
  const holders = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^copyright (\(c\)|©|\d{4})/i.test(line));
  const words = text === '' ? 'As its package.json says; it has no text of it.' : text;
  const body = words.split('\n').map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`));
  const held = (holders.length > 0 ? holders : [author]).join('\n ');
  return `Files: ${path}\nComment: ${comment}\nCopyright: ${held}\nLicense: ${license}\n${body.join('\n')}\n`;
}

const [what] = process.argv.slice(2);
process.stdout.write(what === 'copyright' ? copyright() : `${files().join('\n')}\n`);
