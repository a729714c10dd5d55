import t from 'tap';
import { nearName } from '../../scripts/cli/near-name.js';

/** What a mistyped word was meant to be. */

const names = ['migrate', 'status', 'show', 'vm', 'queue', 'drain', 'undrain'];

await t.test('what is near, and of two the nearer one', (t) => {
  for (const [typed, meant] of [
    ['migrte', 'migrate'],
    ['mgirate', 'migrate'],
    ['stauts', 'status'],
    ['shwo', undefined],
    ['sho', 'show'],
    ['vn', 'vm'],
    ['undrian', 'undrain'],
    ['drainn', 'drain'],
  ] as const) {
    t.equal(nearName(typed, names), meant, typed);
  }
  t.end();
});

await t.test('nothing, where all are far', (t) => {
  for (const typed of ['foo', 'x', 'nonsense', 'start-all-vms'])
    t.equal(nearName(typed, names), undefined, typed);
  t.equal(nearName('migrate', []), undefined);
  t.end();
});
