import {
  type SourceEffect,
  type SourceEvent,
  type SourceState,
  transition as sourceTransition,
} from '../../agent/source/source-state.js';
import {
  isFromSource,
  type TargetEffect,
  type TargetEvent,
  type TargetState,
  transition as targetTransition,
} from '../../agent/target/target-state.js';
import { SOURCE_EVENTS, SOURCE_STATES, TARGET_EVENTS, TARGET_STATES } from './machine-samples.js';

/**
 * A migration as a finite model: the product's two state machines, their effects reduced to what they do to ownership,
 * two journals, a control connection and page streams that deliver in order until they are cut, and agents that crash
 * and come back. successors() gives every state that can be next, whatever goes wrong.
 *
 * Both guests outlive their agents, as QEMU does; an embedded guest that dies with its agent is the simpler case.
 */
export interface Model {
  s: SourceState['name'] | 'down';
  round: number;
  /** The effect under way on the source, and whether an abort waits for it. */
  sStep: SourceEffect['do'] | '';
  sAbortWaits: boolean;
  /** Whether the source listens to the control connection, and the answers that it expects, in order. */
  sHears: boolean;
  sExpects: string[];
  /** Rounds that it has ended on the page streams. */
  sRounds: number;
  sGuest: 'runs' | 'paused' | 'destroyed';
  /** 'commit-sent' is on record, and whether the session knows that. */
  sJournal: boolean;
  sRecorded: boolean;
  /** The guest could not be resumed, and the result says so. */
  sStuck: boolean;

  /** Control connection: both ways up, or cut and not yet noticed by an end. */
  control: 'up' | 'cut';
  sNoticedControl: boolean;
  tNoticedControl: boolean;
  pages: 'up' | 'cut';
  sNoticedPages: boolean;
  tNoticedPages: boolean;
  toTarget: string[];
  toSource: string[];
  onPages: string[];

  t: TargetState['name'] | 'none' | 'down';
  /** Rounds that are over there, and how many must be for a 'finalize' that came before them; 0: none did. */
  tRounds: number;
  tFinalizeDue: number;
  /** Effects of the target, carried out one after the other. */
  tSteps: string[];
  tGuest: 'none' | 'paused' | 'runs';
  tJournal: '' | 'committed' | 'aborted';
  /** The guest was taken over as one of the node's own. */
  tOwns: boolean;
  tStuck: boolean;
  /** An answer to the question for the outcome, on its way. */
  answer: '' | 'pending' | 'committed' | 'aborted';

  /** For the proof alone: what ever happened. */
  everCommitted: boolean;
  everCommitSent: boolean;
}

export const INITIAL: Model = {
  s: 'preparing',
  round: 0,
  sStep: 'prepare',
  sAbortWaits: false,
  sHears: true,
  sExpects: ['prepared'],
  sRounds: 0,
  sGuest: 'runs',
  sJournal: false,
  sRecorded: false,
  sStuck: false,
  control: 'up',
  sNoticedControl: false,
  tNoticedControl: false,
  pages: 'up',
  sNoticedPages: false,
  tNoticedPages: false,
  toTarget: ['prepare'],
  toSource: [],
  onPages: [],
  t: 'opened',
  tRounds: 0,
  tFinalizeDue: 0,
  tSteps: [],
  tGuest: 'none',
  tJournal: '',
  tOwns: false,
  tStuck: false,
  answer: '',
  everCommitted: false,
  everCommitSent: false,
};

/** Rounds before the switchover that are explored. */
const MAX_ROUND = 1;

/**
 * What each effect of the source that talks to the target says, and the answer that completes it; 'switch-over' waits for
 * that only where the memory is to be verified.
 */
const TALKS: Partial<Record<SourceEffect['do'], { message?: string; pages?: string; answer: string }>> = {
  prepare: { message: 'prepare', answer: 'prepared' },
  'copy-round': { pages: 'round-end', answer: 'round-ack' },
  'switch-over': { pages: 'round-end', answer: 'round-ack' },
  verify: { message: 'verify-request', answer: 'verify-hashes' },
  finalize: { message: 'finalize', answer: 'ready' },
  commit: { message: 'commit', answer: 'running' },
};

const clone = (model: Model): Model => ({
  ...model,
  sExpects: [...model.sExpects],
  toTarget: [...model.toTarget],
  toSource: [...model.toSource],
  onPages: [...model.onPages],
  tSteps: [...model.tSteps],
});

const sourceUp = (m: Model) => m.s !== 'down';
const targetUp = (m: Model) => m.t !== 'down';
const isOver = (name: string) => name === 'completed' || name === 'failed';

function sendToTarget(m: Model, message: string): void {
  if (m.control === 'up') m.toTarget.push(message);
}

function sendToSource(m: Model, message: string): void {
  if (m.control === 'up') m.toSource.push(message);
}

function sendPages(m: Model, what: string): void {
  if (what === 'round-end') m.sRounds += 1;
  if (m.pages === 'up') m.onPages.push(what);
}

// -- source ---------------------------------------------------------------------------------------------------------

function dispatchSource(m: Model, event: SourceEvent): void {
  if (m.s === 'down') return;
  const state = m.s === 'copying' || m.s === 'pausing' || m.s === 'switching-over'
    ? { name: m.s, round: m.round }
    : SOURCE_STATES[m.s]; // prettier-ignore
  const step = sourceTransition(state, event);
  if (step === null) return;
  m.s = step.state.name;
  if ('round' in step.state) m.round = step.state.round;
  if (m.s === 'aborting') {
    // as SourceSteps.interrupt()
    m.sHears = false;
    m.sExpects = [];
    sendToTarget(m, 'abort');
    sendPages(m, 'close');
    if (TALKS[m.sStep as SourceEffect['do']] || m.sStep === 'ask') m.sStep = '';
  }
  if (step.effect) startSource(m, step.effect.do);
  else endSource(m);
}

function startSource(m: Model, effect: SourceEffect['do']): void {
  if (effect === 'report-unknown') return;
  if (effect === 'abort' && m.sStep !== '') {
    m.sAbortWaits = true;
    return;
  }
  m.sStep = effect;
  const talk = TALKS[effect];
  if (effect === 'commit') m.everCommitSent = true;
  if (talk?.pages) sendPages(m, talk.pages);
  if (talk?.message) sendToTarget(m, effect === 'finalize' ? `finalize ${m.sRounds}` : talk.message);
  if (talk) m.sExpects.push(talk.answer);
}

/** The agent ends the control connection: in good order only where nothing here will ever ask for the outcome. */
function endSource(m: Model): void {
  m.sHears = false;
  m.sStep = '';
  sendToTarget(m, m.sJournal ? 'broken off' : 'done');
}

/** The step under way has ended with `event`. */
function completeSource(m: Model, event: SourceEvent): void {
  m.sStep = '';
  const abortWaited = m.sAbortWaits;
  dispatchSource(m, event);
  if (abortWaited) {
    m.sAbortWaits = false;
    m.sStep = 'abort';
  }
}

const sourceFailed = SOURCE_EVENTS.failed;

function hearSource(m: Model, message: string): void {
  if (!m.sHears) return;
  if (message !== m.sExpects[0]) {
    // an error, 'aborted', or what nothing asked for
    m.sHears = false;
    failSource(m);
    return;
  }
  m.sExpects.shift();
  if (TALKS[m.sStep as SourceEffect['do']] && m.sExpects.length === 0) completeSource(m, eventOfAnswer(m));
}

/** A failure beside the step under way, which is rejected by it if it waits for the target. */
function failSource(m: Model): void {
  const step = m.sStep;
  if (TALKS[step as SourceEffect['do']]) completeSource(m, sourceFailed);
  else dispatchSource(m, sourceFailed);
}

function eventOfAnswer(m: Model): SourceEvent {
  switch (m.sStep) {
    case 'prepare':
      return SOURCE_EVENTS.prepared;
    case 'copy-round':
      return SOURCE_EVENTS['round-copied (round)'];
    case 'switch-over':
      return SOURCE_EVENTS['state-sent (verify)'];
    case 'verify':
      return SOURCE_EVENTS.verified;
    case 'finalize':
      return SOURCE_EVENTS.ready;
    default:
      return SOURCE_EVENTS.running;
  }
}

function sourceSuccessors(m: Model, next: Next): void {
  if (!sourceUp(m)) {
    next('the source agent comes back', (n) => {
      n.sStuck = false;
      if (n.sJournal) {
        n.s = 'asking';
        n.sStep = 'ask';
        n.sRecorded = true;
      } else if (n.sGuest === 'destroyed') {
        n.s = 'completed';
      } else {
        n.s = 'failed';
        n.sGuest = 'runs';
      }
    });
    return;
  }
  if (!isOver(m.s) || m.sJournal) {
    next('the source agent crashes', (n) => {
      Object.assign(n, {
        s: 'down',
        sStep: '',
        sAbortWaits: false,
        sHears: false,
        sExpects: [],
        sRecorded: false,
        answer: '',
      });
      n.control = 'cut';
      n.pages = 'cut';
    });
  }
  if (m.toSource.length > 0 && !m.sNoticedControl) {
    next(`the source hears ${m.toSource[0]}`, (n) => {
      const message = n.toSource.shift()!;
      hearSource(n, message);
    });
    if (m.sHears && m.s === 'copying' && m.toSource[0] === 'round-ack') {
      for (const label of ['round-copied (switch-over)', 'round-copied (cancel)'] as const) {
        next(`the round ends: ${label}`, (n) => {
          n.toSource.shift();
          n.sExpects.shift();
          completeSource(n, SOURCE_EVENTS[label]);
        });
      }
    }
  }
  if (m.control === 'cut' && !m.sNoticedControl) {
    next('the source notices that the control connection ended', (n) => {
      n.sNoticedControl = true;
      n.toSource = [];
      if (!n.sHears) return;
      n.sHears = false;
      failSource(n);
    });
  }
  if (m.pages === 'cut' && !m.sNoticedPages) {
    next('the source notices that the page streams ended', (n) => {
      n.sNoticedPages = true;
      dispatchSource(n, sourceFailed);
    });
  }
  if (!isOver(m.s)) next('the operator cancels', (n) => dispatchSource(n, SOURCE_EVENTS.cancel));
  if (TALKS[m.sStep as SourceEffect['do']]) {
    next(`${m.sStep} fails or takes too long`, (n) => completeSource(n, sourceFailed));
  }
  switch (m.sStep) {
    case 'pause':
      for (const early of [false, true]) {
        next(`the guest is paused${early ? ', and part of its state is sent' : ''}`, (n) => {
          n.sGuest = 'paused';
          if (early) {
            sendPages(n, 'round-end');
            n.sExpects.push('round-ack');
          }
          completeSource(n, SOURCE_EVENTS.paused);
        });
      }
      for (const guest of ['runs', 'paused'] as const) {
        next(`pausing fails, and it ${guest}`, (n) => {
          n.sGuest = guest;
          completeSource(n, sourceFailed);
        });
      }
      break;
    case 'switch-over':
      next('the state is sent, and nothing is verified', (n) =>
        completeSource(n, SOURCE_EVENTS['state-sent']),
      );
      break;
    case 'record-commit':
      next('commit-sent is recorded', (n) => {
        n.sJournal = true;
        n.sRecorded = true;
        completeSource(n, SOURCE_EVENTS['commit-recorded']);
      });
      for (const left of [false, true]) {
        next(`commit-sent can't be recorded${left ? ', and is there all the same' : ''}`, (n) => {
          n.sJournal = left;
          completeSource(n, sourceFailed);
        });
      }
      break;
    case 'release':
      for (const [destroyed, forgotten] of [[true, true], [true, false], [false, false]] as const) {
        next(`released${destroyed ? '' : ', not destroyed'}${forgotten ? '' : ', not forgotten'}`, (n) => {
          if (destroyed) n.sGuest = 'destroyed';
          if (forgotten) n.sJournal = false;
          completeSource(n, SOURCE_EVENTS.released);
        });
      } // prettier-ignore
      break;
    case 'abort':
      for (const resumed of [true, false]) {
        for (const forgotten of m.sRecorded ? [true, false] : [false]) {
          next(`given up${resumed ? '' : ', not resumed'}${forgotten ? ', forgotten' : ''}`, (n) => {
            if (resumed && n.sGuest === 'paused') n.sGuest = 'runs';
            n.sStuck = n.sGuest === 'paused';
            if (forgotten) n.sJournal = false;
            completeSource(n, SOURCE_EVENTS.aborted);
          });
        }
      }
      break;
    case 'ask':
      if (m.answer === '') {
        if (m.t !== 'down') {
          next('the target is asked', ask);
        }
      } else {
        next(`the answer arrives: ${m.answer}`, (n) => {
          const outcome = n.answer;
          n.answer = '';
          if (outcome === 'committed') completeSource(n, SOURCE_EVENTS['answered (committed)']);
          if (outcome === 'aborted') completeSource(n, SOURCE_EVENTS['answered (aborted)']);
        });
        next('the answer is lost', (n) => (n.answer = ''));
      }
      next('nobody has answered for long', (n) => dispatchSource(n, SOURCE_EVENTS.unanswered));
      break;
    default:
  }
}

/** As the agent answers: from the journal; what is neither there nor under way is aborted, and not let in any more. */
function ask(n: Model): void {
  const underWay = !['none', 'opened', 'running', 'aborted'].includes(n.t);
  if (n.tJournal === '' && underWay) {
    n.answer = 'pending';
    return;
  }
  n.answer = n.tJournal || 'aborted';
}

// -- target ---------------------------------------------------------------------------------------------------------

function dispatchTarget(m: Model, event: TargetEvent): void {
  if (m.t === 'down' || m.t === 'none') return;
  const step = targetTransition(TARGET_STATES[m.t], event);
  if (step === null) {
    if (isFromSource(event) && m.t !== 'aborting' && m.t !== 'aborted') rejectTarget(m);
    return;
  }
  m.t = step.state.name;
  if (step.effect) m.tSteps.push(nameOf(step.effect));
}

function rejectTarget(m: Model): void {
  if (m.t === 'down' || m.t === 'none') return;
  const { failed } = TARGET_EVENTS;
  if (targetTransition(TARGET_STATES[m.t], failed)) dispatchTarget(m, failed);
  else sendToSource(m, 'error');
}

function nameOf(effect: TargetEffect): string {
  if (effect.do !== 'discard') return effect.do;
  return `discard ${effect.record ? 'recorded' : 'unrecorded'} ${effect.answer}`;
}

function completeTarget(m: Model, event: TargetEvent | null): void {
  m.tSteps.shift();
  if (event) dispatchTarget(m, event);
}

/** As TargetSession does, which lets it wait for the rounds that it has overtaken. */
function hearFinalize(n: Model, rounds: number): void {
  if (n.tFinalizeDue > 0) rejectTarget(n);
  else if (n.t === 'receiving' && rounds > n.tRounds) n.tFinalizeDue = rounds;
  else dispatchTarget(n, TARGET_EVENTS.finalize);
}

function endRound(n: Model): void {
  n.tRounds += 1;
  dispatchTarget(n, TARGET_EVENTS['round-ended']);
  if (n.tFinalizeDue === 0 || n.tFinalizeDue > n.tRounds) return;
  n.tFinalizeDue = 0;
  dispatchTarget(n, TARGET_EVENTS.finalize);
}

function hearTarget(n: Model, message: string): void {
  const [name, rounds] = message.split(' ');
  if (name === 'finalize') {
    hearFinalize(n, Number(rounds));
    return;
  }
  switch (message) {
    case 'prepare':
    case 'verify-request':
    case 'commit':
    case 'abort':
      dispatchTarget(n, TARGET_EVENTS[message]);
      return;
    default:
      n.control = 'cut';
      n.tNoticedControl = true;
      // both sides know the outcome: nobody will ask
      if (message === 'done' && n.t === 'running' && n.tOwns) n.tJournal = '';
      else dispatchTarget(n, TARGET_EVENTS.failed);
  }
}

function targetSuccessors(m: Model, next: Next): void {
  if (!targetUp(m)) {
    next('the target agent comes back', (n) => {
      n.t = 'none';
      if (n.tJournal === 'committed' || n.tOwns) {
        n.tGuest = 'runs';
        n.tStuck = false;
      } else n.tGuest = 'none';
    });
    return;
  }
  next('the target agent crashes', (n) => {
    n.t = 'down';
    n.tSteps = [];
    n.control = 'cut';
    n.pages = 'cut';
    n.toTarget = [];
    n.onPages = [];
    n.tNoticedControl = true;
    n.tNoticedPages = true;
  });
  if (m.tJournal === 'aborted' && (m.t === 'none' || m.t === 'aborted')) {
    next('the target drops its record of the abort', (n) => (n.tJournal = ''));
  }
  if (m.t === 'none') return;
  if (m.toTarget.length > 0 && !m.tNoticedControl) {
    next(`the target hears ${m.toTarget[0]}`, (n) => hearTarget(n, n.toTarget.shift()!));
  }
  if (m.onPages.length > 0 && !m.tNoticedPages) {
    next(`the target receives ${m.onPages[0]}`, (n) => {
      const what = n.onPages.shift();
      if (what === 'round-end' && n.t === 'receiving') endRound(n);
      else dispatchTarget(n, TARGET_EVENTS.failed);
    });
  }
  if (m.control === 'cut' && !m.tNoticedControl) {
    next('the target notices that the control connection ended', (n) => {
      n.tNoticedControl = true;
      n.toTarget = [];
      dispatchTarget(n, TARGET_EVENTS.failed);
    });
  }
  if (m.pages === 'cut' && !m.tNoticedPages) {
    next('the target notices that the page streams ended', (n) => {
      n.tNoticedPages = true;
      n.onPages = [];
      dispatchTarget(n, TARGET_EVENTS.failed);
    });
  }
  if (m.t === 'ready') next('the commit does not come', (n) => dispatchTarget(n, TARGET_EVENTS.failed));
  const step = m.tSteps[0];
  if (step !== undefined) targetStep(m, step, next);
}

function targetStep(m: Model, step: string, next: Next): void {
  const say = (message: string) =>
    next(`the target says ${message}`, (n) => {
      sendToSource(n, message);
      completeTarget(n, null);
    });
  const fails = () =>
    next(`${step} fails`, (n) => {
      n.tSteps.shift();
      rejectTarget(n);
    });
  switch (step) {
    case 'prepare':
      next('the incoming guest is created', (n) => {
        n.tGuest = 'paused';
        const wanted = n.t === 'preparing';
        completeTarget(n, TARGET_EVENTS.prepared);
        if (wanted) sendToSource(n, 'prepared');
      });
      fails();
      break;
    case 'acknowledge-round':
      say('round-ack');
      break;
    case 'send-hashes':
      say('verify-hashes');
      break;
    case 'load':
      next('the state is loaded', (n) => completeTarget(n, TARGET_EVENTS.loaded));
      fails();
      break;
    case 'send-ready':
      say('ready');
      break;
    case 'send-running':
      say('running');
      break;
    case 'record-commit':
      if (m.tJournal === 'aborted') {
        next('aborted is on record', (n) => completeTarget(n, TARGET_EVENTS['commit-refused']));
        break;
      }
      next('committed is recorded', (n) => {
        n.tJournal = 'committed';
        n.everCommitted = true;
        completeTarget(n, TARGET_EVENTS['commit-recorded']);
      });
      next("committed can't be recorded", (n) => completeTarget(n, TARGET_EVENTS['record-failed']));
      break;
    case 'resume':
      next('the guest runs on the target', (n) => {
        n.tOwns = true;
        n.tGuest = 'runs';
        completeTarget(n, TARGET_EVENTS.resumed);
      });
      for (const owned of [true, false]) {
        next(`the guest ${owned ? 'is taken over' : "can't be taken over"} and does not start`, (n) => {
          n.tOwns = owned;
          n.tStuck = true;
          completeTarget(n, TARGET_EVENTS.resumed);
        });
      }
      break;
    default: {
      const [, record, answer] = step.split(' ');
      for (const written of record === 'recorded' ? [true, false] : [false]) {
        next(`the incoming guest is discarded${written ? ', recorded' : ''}`, (n) => {
          if (written && n.tJournal === '') n.tJournal = 'aborted';
          n.tGuest = 'none';
          sendToSource(n, answer!);
          completeTarget(n, TARGET_EVENTS.aborted);
        });
      }
    }
  }
}

// -- both -----------------------------------------------------------------------------------------------------------

type Next = (what: string, change: (model: Model) => void) => void;

/** Everything that can happen in a state, and what comes of it. */
export function successors(model: Model): { what: string; model: Model }[] {
  const found: { what: string; model: Model }[] = [];
  const next: Next = (what, change) => {
    const copy = clone(model);
    change(copy);
    if (copy.round <= MAX_ROUND) found.push({ what, model: copy });
  };
  if (model.control === 'up') next('the control connection is cut', (n) => (n.control = 'cut'));
  if (model.pages === 'up') next('the page streams are cut', (n) => (n.pages = 'cut'));
  sourceSuccessors(model, next);
  targetSuccessors(model, next);
  return found;
}
