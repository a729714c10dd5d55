import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { checkPolicy } from '../../../../agent/guest/qemu/policy/check-policy.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';
import { QemuPolicySchema } from '../../../../shared/qemu-policy.js';

interface Image {
  readonly backing?: string;
  readonly format?: string;
  readonly incompatible?: number;
}

/** The header of a qcow2 image, version 3. */
function qcow2({ backing = '', format, incompatible = 0 }: Image = {}): Buffer {
  const bytes = Buffer.alloc(65_536);
  bytes.writeUInt32BE(0x514649fb, 0);
  bytes.writeUInt32BE(3, 4);
  bytes.writeBigUInt64BE(BigInt(backing === '' ? 0 : 1024), 8);
  bytes.writeUInt32BE(backing.length, 16);
  bytes.writeBigUInt64BE(BigInt(incompatible), 72);
  bytes.writeUInt32BE(104, 100);
  if (format !== undefined) {
    bytes.writeUInt32BE(0xe2792aca, 104);
    bytes.writeUInt32BE(format.length, 108);
    bytes.write(format, 112);
  }
  bytes.write(backing, 1024);
  return bytes;
}

/** A host with images of guests beside what is none of theirs; what its policy says about a definition. */
function host(t: Test) {
  const root = realpathSync(t.testdir());
  const [images, secret] = [join(root, 'images'), join(root, 'secret')];
  mkdirSync(images);
  writeFileSync(secret, 'secret');
  writeFileSync(join(images, 'a.raw'), '');
  symlinkSync(secret, join(images, 'out'));
  symlinkSync('a.raw', join(images, 'alias'));
  symlinkSync(images, join(root, 'link'));
  const given = { files: [images, join(root, 'link')], taps: ['tap0', 'vm*'] };
  const check = async (fields: object, more: object = {}) => {
    const policy = QemuPolicySchema.parse({ ...given, ...more });
    const definition = QemuDefinitionSchema.parse({ name: 'vm', kind: 'qemu', memory: '1MiB', ...fields });
    return (await checkPolicy(definition, policy)).map(({ code, subject, reason, remedy }) => {
      t.equal(code, 'refused-by-policy');
      t.match(remedy, /qemu\.allow\.(files|taps|arguments|cpus)/);
      return `${subject}: ${reason}`;
    });
  };
  const image = (name: string, content: Image) => {
    const path = join(images, name);
    writeFileSync(path, qcow2(content));
    return check({ disks: [{ file: path, format: 'qcow2' }] });
  };
  return { root, images, secret, check, image };
}

void test('files', async (t) => {
  const { root, images, secret, check } = host(t);
  for (const file of ['a.raw', 'alias', 'not-there']) {
    t.same(await check({ disks: [{ file: join(images, file) }] }), [], file);
    t.same(await check({ boot: { kernel: join(images, file), initrd: join(images, file) } }), [], file);
  }
  const list = `${images}/a.raw,${secret}`;
  t.match((await check({ boot: { kernel: `${images}/a.raw`, initrd: list } })).join(), /comma/);
  t.same(await check({ disks: [{ file: `${root}/link/a.raw` }] }), [], 'a directory that is a link');
  for (const [file, reason] of [
    [secret, /is in no directory/],
    [`${images}-more/a.raw`, /is in no directory/],
    [`${images}/../secret`, /has '\.' or '\.\.'/],
    [`${images}/out`, /leads out/],
    ['/proc/self/mem', /is in no directory/],
    ['/dev/sda', /is in no directory/],
  ] as const) {
    for (const fields of [
      { disks: [{ file }] },
      { boot: { kernel: file } },
      { boot: { kernel: `${images}/a.raw`, initrd: file } },
    ]) {
      t.match((await check(fields)).join(), reason, file);
    }
  }
});

void test("'/' opens neither devices nor what the kernel tells; what is listed in /dev are block devices", async (t) => {
  const ask = async (file: string, ...files: string[]) => {
    const disks = [{ file }];
    const definition = QemuDefinitionSchema.parse({ name: 'vm', kind: 'qemu', memory: '1MiB', disks });
    return (await checkPolicy(definition, QemuPolicySchema.parse({ files })))
      .map(({ reason }) => reason)
      .join();
  };
  t.equal(await ask('/etc/passwd', '/'), '');
  for (const file of ['/proc/kcore', '/dev/null', '/dev/sda', '/sys/power/state'])
    t.match(await ask(file, '/'), /no directory/);
  t.match(await ask('/dev/null', '/dev'), /no block device/);
  t.equal(await ask('/dev/not-there', '/dev'), '');
});

void test('what a qcow2 image makes QEMU open', async (t) => {
  const { images, secret, image } = host(t);
  t.same(await image('plain', {}), []);
  t.same(await image('on-raw', { backing: 'a.raw', format: 'raw' }), []);
  t.same(await image('chain', { backing: `${images}/on-raw`, format: 'qcow2' }), []);
  for (const [what, reason] of [
    [{ backing: secret, format: 'raw' }, /secret, the backing file of .*no directory/],
    [{ backing: '../secret', format: 'raw' }, /no directory/],
    [{ backing: 'out', format: 'raw' }, /leads out/],
    [{ backing: 'a.raw' }, /no format/],
    [{ backing: 'a.raw', format: 'vmdk' }, /the format vmdk/],
    [{ backing: 'json:{"driver":"nbd"}', format: 'raw' }, /no path/],
    [{ backing: 'nbd:host:1', format: 'raw' }, /no path/],
    [{ incompatible: 4 }, /in another file/],
    [{ backing: 'loop', format: 'qcow2' }, /more than 32/],
    [{ backing: 'x'.repeat(2000), format: 'raw' }, /can't be read as qcow2/],
  ] as const) {
    t.match((await image('loop', what)).join(), reason, JSON.stringify(what).slice(0, 60));
  }
  await image('below', { backing: secret, format: 'raw' });
  t.match((await image('above', { backing: 'below', format: 'qcow2' })).join(), /secret/, 'however deep');
});

void test('tap devices and arguments', async (t) => {
  const { check } = host(t);
  const nic = (tap: string) => ({ nics: [{ tap, mac: '52:54:00:00:00:01' }] });
  for (const tap of ['tap0', 'vm7']) t.same(await check(nic(tap)), []);
  for (const tap of ['tap01', 'eth0'])
    t.match((await check(nic(tap))).join(), new RegExp(`tap device ${tap}`));
  t.match((await check({ arguments: ['-monitor', 'stdio'] })).join(), /argument '-monitor stdio'/);
});

void test('virtual processors: those of the host, or what is configured', async (t) => {
  const { check } = host(t);
  const processors = availableParallelism();
  t.same(await check({ cpus: processors }), []);
  t.match(await check({ cpus: processors + 1 }), [
    `cpus: ${processors + 1}: is more than the target gives a VM`,
  ]);
  t.same(await check({ cpus: 64 }, { cpus: 64 }), []);
  t.match(await check({ cpus: 2 }, { cpus: 1 }), ['cpus: 2: is more than the target gives a VM']);
});
