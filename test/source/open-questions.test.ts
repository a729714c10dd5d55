import { once } from 'node:events';
import { pino } from 'pino';
import { test } from 'tap';
import { type JournalEntry, OwnershipJournal } from '../../agent/journal/ownership-journal.js';
import { Farewells } from '../../agent/source/farewells.js';
import { holdOpenQuestions, OpenQuestions } from '../../agent/source/open-questions.js';
import { systemTimers } from '../../shared/timers.js';
import { openOn } from '../support/node-guests.js';

const SENT: JournalEntry = {
  migration: 'm-00000001',
  decision: 'commit-sent',
  vm: 'web',
  peer: 'b',
  at: '2026-01-01T00:00:00.000Z',
};

void test('a VM that did not move is left alone until it runs again', async (t) => {
  const settling = new EventTarget();
  let goOn!: () => void;
  const held = new Promise<void>((resolve) => (goOn = resolve));
  const { store, outgoing, guest } = await openOn(t, null, [SENT], undefined, (guest) => {
    const settle = guest.settle.bind(guest);
    guest.settle = async () => {
      settling.dispatchEvent(new Event('begun'));
      await held;
      await settle();
    };
  });
  const begun = once(settling, 'begun');
  const journal = await OwnershipJournal.open(t.testdir({}));
  await journal.decide(SENT);
  holdOpenQuestions(journal, outgoing);
  const context = {
    ...{ node: 'a', guests: outgoing, journal, logger: pino({ level: 'silent' }), timers: systemTimers },
    dialer: { askOutcome: () => Promise.resolve('aborted' as const), sayGoodbye: () => Promise.resolve() },
    address: (node: string) => ({ node, url: 'http://127.0.0.1:9' }),
    signal: new AbortController().signal,
  };
  const questions = new OpenQuestions({ ...context, farewells: new Farewells(context) });
  questions.start();

  await begun;
  t.match(store.get('web'), { status: 'paused', migration: SENT.migration });
  await t.rejects(store.stop('web'), { code: 'wrong-state', message: /part of migration/ });
  goOn();
  await questions.closed('web');
  t.equal(store.get('web').migration, null);
  t.same(guest.calls, ['settle']);
  t.equal(journal.get(SENT.migration), undefined);
});
