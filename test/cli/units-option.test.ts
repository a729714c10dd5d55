import t from 'tap';
import { inUnits } from '../../scripts/cli/units-option.js';
import { parseDuration, parseRate } from '../../shared/units.js';

void t.test('an option with a unit', (t) => {
  t.equal(inUnits('bandwidth', '1gbit', parseRate), 125_000_000);
  t.equal(inUnits('bandwidth', '0', parseRate), 0);
  t.equal(inUnits('max-downtime', '30ms', parseDuration), 30);
  t.equal(inUnits('bandwidth', undefined, parseRate), undefined, 'one that is not given');
  t.end();
});

void t.test('what is wrong is told with the name of the option', (t) => {
  for (const text of ['', 'fast', '-1gbit', '1 furlong', 'NaN', '1e999gbit']) {
    t.throws(() => inUnits('bandwidth', text, parseRate), {
      code: 'invalid-request',
      message: /^--bandwidth: /,
    }, text); // prettier-ignore
  }
  t.end();
});
