import { test } from 'tap';
import { pinDefinition } from '../../../agent/guest/qemu/pin-definition.js';
import { QemuDefinitionSchema } from '../../../shared/guest-definition.js';

const machines = new Map([
  ['q35', 'pc-q35-7.2'],
  ['pc-q35-6.2', 'pc-q35-6.2'],
]);
const WORKS = { usable: true, reason: 'it was tried' };
const FAILS = { usable: false, reason: 'there is no /dev/kvm' };

const definition = (fields: object) =>
  QemuDefinitionSchema.parse({ name: 'web', kind: 'qemu', memory: '64MiB', ...fields });

void test('what a definition leaves open is chosen', (t) => {
  const cases = [
    { fields: {}, kvm: WORKS, accel: 'kvm', machine: 'pc-q35-7.2', reason: 'it was tried' },
    { fields: {}, kvm: FAILS, accel: 'tcg', machine: 'pc-q35-7.2', reason: 'there is no /dev/kvm' },
    { fields: { accel: 'tcg' }, kvm: WORKS, accel: 'tcg', reason: 'the definition says so' },
    { fields: { accel: 'kvm' }, kvm: WORKS, accel: 'kvm', reason: 'the definition says so' },
    { fields: { machine: 'pc-q35-6.2' }, kvm: FAILS, accel: 'tcg', machine: 'pc-q35-6.2' },
    { fields: { machine: 'microvm' }, kvm: FAILS, accel: 'tcg', machine: 'microvm' },
  ];
  for (const { fields, kvm, accel, machine = 'pc-q35-7.2', ...rest } of cases) {
    const pinned = pinDefinition(definition(fields), { machines, kvm });
    t.match(pinned, { accel, definition: { accel, machine, name: 'web' }, ...rest });
  }
  t.end();
});

void test('KVM that is demanded and does not work is refused', (t) => {
  t.throws(() => pinDefinition(definition({ accel: 'kvm' }), { machines, kvm: FAILS }), {
    code: 'guest-failed',
    message: /VM web is to run with kvm, which does not work here: there is no \/dev\/kvm; let it use/,
  });
  t.end();
});
