import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import t from 'tap';

/** A program of somebody else, in a project of its own, that has this package among its own. */
const project = t.testdir({});
await mkdir(join(project, 'node_modules', '@types'), { recursive: true });
await symlink(resolve('.'), join(project, 'node_modules', 'vmferry'));
await symlink(resolve('node_modules/@types/node'), join(project, 'node_modules', '@types', 'node'));
await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module' }));
await copyFile('scripts/examples/move-all.ts', join(project, 'move-all.ts'));
const compilerOptions = {
  ...{ target: 'es2023', module: 'nodenext', strict: true, exactOptionalPropertyTypes: true },
  ...{ types: ['node'], skipLibCheck: true },
};
await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));

const compile = () =>
  spawnSync(process.execPath, [resolve('node_modules/typescript/lib/tsc.js'), '-p', project], {
    encoding: 'utf8',
  });

await t.test('an example is compiled against the types of vmferry/client, and runs', (t) => {
  t.match(compile(), { status: 0, stdout: '' });
  const run = spawnSync(process.execPath, [join(project, 'move-all.js')], { encoding: 'utf8' });
  t.match(run, { status: 1, stderr: /usage: move-all AGENT NODE/ });
  t.end();
});

await t.test('what the answers do not have is an error', async (t) => {
  const program = [
    "import { AgentClient, type MigrationInfo } from 'vmferry/client';",
    "const { phase }: MigrationInfo = await new AgentClient('http://a').migration('m-00000001');",
    "if (phase === 'teleporting') console.log(phase);",
  ];
  await writeFile(join(project, 'move-all.ts'), program.join('\n'));
  t.match(compile(), { status: 2, stdout: /error TS2367: .*"teleporting"/ });
});
