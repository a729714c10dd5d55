import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { VERSION } from '../../shared/version.js';

/** The package, made as for a release and installed on a host of its own, which is booted with a real systemd. */

const run = promisify(execFile);
const skip = process.geteuid?.() === 0 ? false : 'only root can install packages and boot another host';

await t.test('the package on a host', { skip }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-package-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const { stdout } = await run('./scripts/package', ['--built', directory]);
  const [deb = '', tarball = ''] = stdout.trim().split('\n');
  t.match(deb, `vmferry_${VERSION}`);
  // Which boots while the package is looked at.
  const output = run('./scripts/lab/systemd-host', ['test/deploy/installed-host', deb]).then(
    ({ stdout }) => stdout,
    (error: Error & { stdout?: string; stderr?: string }) =>
      `${error.stdout}\nnot ok the host: ${error.message}`,
  );

  await t.test('is the same each time, and has neither tests nor files of somebody', async (t) => {
    const { stdout: listing } = await run('tar', ['--list', '--verbose', '--gzip', '--file', tarball]);
    const lines = listing.trim().split('\n');
    t.equal(lines.filter((line) => !/^\S+ 0\/0 /.test(line)).length, 0);
    t.ok(lines.some((line) => line.endsWith('/usr/lib/vmferry/dist/scripts/vmferry.js')));
    t.notOk(lines.some((line) => /\/dist\/test\/|\/node_modules\/(typescript|tap|eslint)\//.test(line)));
    const again = join(directory, 'again');
    await run('./scripts/package', ['--built', again]);
    for (const file of [deb, tarball]) {
      const [first, second] = await Promise.all([readFile(file), readFile(file.replace(directory, again))]);
      t.ok(first.equals(second), file);
    }
  });

  await t.test('is installed, serves, is restarted, upgraded and removed', async (t) => {
    const lines = (await output).split('\n').filter((line) => /^(not )?ok /.test(line));
    t.ok(lines.length > 30, 'all of it was tried');
    for (const line of lines) t.match(line, /^ok /, line);
  });
});
