import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AgentConfigSchema } from '../../shared/config.js';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { pino } from 'pino';
import { journalText } from '../../agent/journal/ownership-journal.js';
import { Agent } from '../../agent/agent.js';
import type { AgentService } from '../../agent/api/service.js';

const ID = 'm-00000001';

/** An agent of node a that finds its VM 'web' with a commit to node b on record, as an earlier run left it. */
async function restarted(
  t: Test,
  peer: string | null,
  others: Record<string, string> = {},
): Promise<{ service: AgentService; logged: (message: RegExp) => Promise<void> }> {
  const stateDirectory = join(t.testdirName, 'a');
  await mkdir(join(stateDirectory, 'guests'), { recursive: true });
  await mkdir(join(stateDirectory, 'journal'), { recursive: true });
  const definition = { name: 'web', kind: 'embedded', memory: 2 ** 20, program: 'idle' };
  await writeFile(join(stateDirectory, 'guests', 'web.json'), JSON.stringify(definition));
  const entry = {
    migration: ID,
    decision: 'commit-sent' as const,
    vm: 'web',
    peer: 'b',
    at: new Date().toISOString(),
  };
  await writeFile(join(stateDirectory, 'journal', `${ID}.json`), journalText(entry));
  const lines: string[] = [];
  const waiting: { message: RegExp; resolve: () => void }[] = [];
  const logger = pino({}, {
    write: (line: string) => {
      lines.push(line);
      for (const { message, resolve } of waiting) if (message.test(line)) resolve();
    },
  }); // prettier-ignore
  const peers = peer === null ? others : { ...others, b: peer };
  const config = AgentConfigSchema.parse({ node: 'a', listen: '127.0.0.1:0', stateDirectory, peers });
  const agent = await Agent.start(config, logger);
  t.teardown(() => agent.close());
  return {
    service: agent.service,
    logged: (message) =>
      lines.some((line) => message.test(line))
        ? Promise.resolve()
        : new Promise((resolve) => waiting.push({ message, resolve })),
  };
}

async function target(t: Test, decision: 'committed' | null, port = 0, node = 'b') {
  const stateDirectory = join(t.testdirName, node);
  const journal = join(stateDirectory, 'journal');
  await mkdir(journal, { recursive: true });
  if (decision) {
    const entry = { migration: ID, decision, vm: 'web', peer: 'a', at: new Date().toISOString() };
    await writeFile(join(journal, `${ID}.json`), journalText(entry));
  }
  const config = AgentConfigSchema.parse({ node, listen: `127.0.0.1:${port}`, stateDirectory });
  const agent = await Agent.start(config, pino({ level: 'silent' }));
  t.teardown(() => agent.close());
  return { url: agent.url, forgotten: () => emptied(journal) };
}

/** Resolves once there is no file in a directory. */
async function emptied(directory: string): Promise<void> {
  while ((await readdir(directory)).length > 0) await new Promise((resolve) => setImmediate(resolve));
}

/** A port of loopback that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

void t.test('a VM whose commit was sent before a restart is held until its outcome is known', async (t) => {
  await t.test('while nobody answers', async (t) => {
    t.testdir({});
    const { service, logged } = await restarted(t, 'http://127.0.0.1:9');
    await logged(/could not be asked/);
    t.match(service.guest('web'), { status: 'unknown', migration: ID });
    for (const operation of ['startGuest', 'stopGuest', 'undefineGuest'] as const) {
      const refused: Promise<unknown> = service[operation]('web');
      await t.rejects(refused, { code: 'wrong-state', message: /outcome/ }, operation);
    }
    await t.rejects(service.startMigration({ vm: 'web', to: 'b', options: {} }), {
      code: 'duplicate-migration',
    });
  });
  await t.test('while its target is not configured', async (t) => {
    t.testdir({});
    const { service, logged } = await restarted(t, null);
    await logged(/'peers' does not name/);
    t.equal(service.guest('web').status, 'unknown');
  });
  await t.test('it was committed: it is forgotten here, and then there', async (t) => {
    t.testdir({});
    const there = await target(t, 'committed');
    const { service, logged } = await restarted(t, there.url);
    await logged(/outcome of an earlier migration is known/);
    t.strictSame(service.guests(), []);
    await there.forgotten();
    await emptied(join(t.testdirName, 'a', 'journal'));
  });
  await t.test('it was not: it is ours', async (t) => {
    t.testdir({});
    const { service, logged } = await restarted(t, (await target(t, null)).url);
    await logged(/outcome of an earlier migration is known/);
    t.equal(service.guest('web').status, 'stopped');
    await service.startGuest('web');
    t.equal(service.guest('web').status, 'running');
  });
});

void t.test('an operator settles it where the target is gone', async (t) => {
  await t.test('not without being told the risk', async (t) => {
    t.testdir({});
    const { service, logged } = await restarted(t, `http://127.0.0.1:${await freePort()}`);
    await logged(/could not be asked/);
    t.match(await service.guestOutcome('web'), {
      vm: 'web',
      open: {
        migration: ID,
        from: 'a',
        to: 'b',
        takenBack: false,
        known: /node b can't be asked: node b cannot be reached/,
        choices: [
          { owner: 'a', risk: /two run/, command: 'vmferry vm resolve web --owner a --force' },
          { owner: 'b', risk: /lost/, command: 'vmferry vm resolve web --owner b --force' },
        ],
      },
    });
    for (const owner of ['a', 'b']) {
      const refused = service.resolveGuest('web', { owner, force: false });
      await t.rejects(refused, { code: 'outcome-unknown', message: /risk.*--force/ }, owner);
    }
    await t.rejects(service.resolveGuest('web', { owner: 'c', force: true }), { code: 'invalid-request' });
    t.equal(service.guest('web').status, 'unknown');
    await t.rejects(service.resolveGuest('other', { owner: 'a', force: true }), { code: 'not-found' });
  });

  await t.test('it is the target that has it: nothing of it is left here', async (t) => {
    t.testdir({});
    const { service, logged } = await restarted(t, `http://127.0.0.1:${await freePort()}`);
    await logged(/could not be asked/);
    t.strictSame(await service.resolveGuest('web', { owner: 'b', force: true }), {
      vm: 'web',
      owner: 'b',
      guest: null,
    });
    t.strictSame(service.guests(), []);
    t.match(await journalOf(t), [{ decision: 'released' }], 'the target is told when it is back');
  });

  for (const decision of ['committed', null] as const) {
    await t.test(
      `it is taken back, and the target comes back and has ${decision ?? 'not committed'}`,
      async (t) => {
        t.testdir({});
        const port = await freePort();
        const { service, logged } = await restarted(t, `http://127.0.0.1:${port}`);
        await logged(/could not be asked/);
        const taken = await service.resolveGuest('web', { owner: 'a', force: true });
        t.match(taken, { owner: 'a', guest: { status: 'stopped', migration: null } });
        t.match(await journalOf(t), [{ decision: 'taken-back' }]);
        await service.startGuest('web');
        t.match(await service.guestOutcome('web'), { open: { takenBack: true } });
        await t.rejects(service.resolveGuest('web', { owner: 'b', force: true }), { code: 'wrong-state' });

        const there = await target(t, decision, port);
        if (decision === null) {
          await logged(/all is well/);
          t.equal(service.guest('web').failure, null);
        } else {
          await logged(/there are two/);
          t.match(service.guest('web').failure, /node b had committed it.*vm stop web/);
          t.match(await service.resolveGuest('web', { owner: 'a', force: false }), {
            guest: { failure: null },
          });
          await there.forgotten();
        }
        t.strictSame(await journalOf(t), []);
        t.equal(service.guest('web').status, 'running');
        t.strictSame(await service.guestOutcome('web'), { vm: 'web', open: null });
        await t.rejects(service.resolveGuest('web', { owner: 'a', force: true }), { code: 'wrong-state' });
      },
    );
  }

  await t.test('a target that answers is believed, whatever the operator says', async (t) => {
    t.testdir({});
    const port = await freePort();
    const { service, logged } = await restarted(t, `http://127.0.0.1:${port}`);
    await logged(/could not be asked/);
    await target(t, 'committed', port);
    const resolved = service.resolveGuest('web', { owner: 'a', force: true });
    await t.rejects(resolved, { code: /wrong-state|not-found/ });
    t.strictSame(service.guests(), []);
  });
});

void t.test('what could not be recorded of an outcome is settled by its operator', async (t) => {
  t.testdir({});
  const port = await freePort();
  const { service, logged } = await restarted(t, `http://127.0.0.1:${port}`);
  await logged(/could not be asked/);
  const inTheWay = join(t.testdirName, 'a', 'journal', `${ID}.json.staged`);
  await mkdir(inTheWay);
  const there = await target(t, 'committed', port);
  await logged(/could not be settled/);
  t.strictSame(service.guests(), []);
  const definition = GuestDefinitionSchema.parse({
    ...{ name: 'web', kind: 'embedded', memory: 2 ** 20, program: 'idle' },
  });
  await t.rejects(service.defineGuest(definition, undefined), {
    code: 'name-taken',
    message: /vm resolve web/,
  });
  await rmdir(inTheWay);
  t.match(await service.resolveGuest('web', { owner: 'b', force: false }), { owner: 'b', guest: null });
  await there.forgotten();
  await service.defineGuest(definition, undefined);
});

void t.test('what a VM is held for comes before what was taken back of it', async (t) => {
  t.testdir({});
  const journal = join(t.testdirName, 'a', 'journal');
  await mkdir(journal, { recursive: true });
  const earlier = { migration: 'm-00000000', vm: 'web', peer: 'c', at: '2026-01-01T00:00:00.000Z' };
  await writeFile(
    join(journal, `${earlier.migration}.json`),
    journalText({ ...earlier, decision: 'taken-back' }),
  );
  const { service } = await restarted(t, `http://127.0.0.1:${await freePort()}`);
  t.match(await service.guestOutcome('web'), { open: { migration: ID, takenBack: false } });
});

void t.test('an earlier commit that was still on record says nothing of a later one', async (t) => {
  t.testdir({});
  const journal = join(t.testdirName, 'a', 'journal');
  await mkdir(journal, { recursive: true });
  const earlier = {
    ...{ migration: 'm-00000000', decision: 'commit-sent' as const },
    ...{ vm: 'web', peer: 'c', at: '2026-01-01T00:00:00.000Z' },
  };
  await writeFile(join(journal, `${earlier.migration}.json`), journalText(earlier));
  const { url } = await target(t, null, 0, 'c');
  const port = await freePort();
  const { service, logged } = await restarted(t, `http://127.0.0.1:${port}`, { c: url });
  await logged(/"migration":"m-00000000".*the outcome of an earlier migration is known/);
  t.match(service.guest('web'), { status: 'unknown', migration: ID });
  await t.rejects(service.startGuest('web'), { code: 'wrong-state' });
  t.match(await journalOf(t), { length: 1, 0: { migration: ID } });
  await target(t, null, port);
  await logged(new RegExp(`"migration":"${ID}".*the outcome of an earlier migration is known`));
  t.match(service.guest('web'), { status: 'stopped', migration: null });
  t.strictSame(await journalOf(t), []);
});

void t.test(
  'a commit of which nothing came, and whose record could not be removed, is settled by its operator',
  async (t) => {
    t.testdir({});
    const port = await freePort();
    const { service, logged } = await restarted(t, `http://127.0.0.1:${port}`);
    await logged(/could not be asked/);
    const entry = join(t.testdirName, 'a', 'journal', `${ID}.json`);
    const content = await readFile(entry);
    await rm(entry);
    await mkdir(entry);
    await target(t, null, port);
    await logged(/could not be settled/);
    await rmdir(entry);
    await writeFile(entry, content);
    t.match(await service.resolveGuest('web', { owner: 'a', force: false }), {
      guest: { status: 'stopped' },
    });
    t.strictSame(await journalOf(t), []);
  },
);

async function journalOf(t: Test): Promise<unknown[]> {
  const directory = join(t.testdirName, 'a', 'journal');
  const files = (await readdir(directory)).filter((name) => name.endsWith('.json'));
  return await Promise.all(
    files.map(async (name) => JSON.parse(await readFile(join(directory, name), 'utf8')) as unknown),
  );
}
