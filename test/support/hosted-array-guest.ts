import type { GuestConsole, GuestKind, GuestKinds, HostedGuest } from '../../agent/guest/hosted-guest.js';
import { MigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { ArrayGuest, started } from './array-guest.js';

/** An ArrayGuest that a node can host: its console prints what the test makes it print. */
export class HostedArrayGuest extends ArrayGuest implements HostedGuest {
  override readonly definition: GuestDefinition;
  readonly #output = new Set<() => void>();
  #printed = Buffer.alloc(0);
  readonly typed: Uint8Array[] = [];

  constructor(definition: GuestDefinition) {
    super(definition.name, definition.memory / PAGE_SIZE);
    this.definition = definition;
    this.state = 'paused';
  }

  print(text: string): void {
    this.#printed = Buffer.concat([this.#printed, Buffer.from(text)]);
    for (const listener of this.#output) listener();
  }

  /** The guest powers itself off. */
  finish(): void {
    this.state = 'finished';
    this.changed();
  }

  readonly console: GuestConsole = this.#console();

  #console(): GuestConsole {
    const printed = () => this.#printed;
    return {
      start: 0,
      get end() {
        return printed().length;
      },
      read: (position) => printed().subarray(position),
      onOutput: (listener) => subscribe(this.#output, listener),
      input: (data) => Promise.resolve(void this.typed.push(data)),
    };
  }

  figures(): Record<string, number | null> {
    return { harvests: this.calls.filter((call) => call === 'harvest').length };
  }
}

function subscribe(set: Set<() => void>, listener: () => void): () => void {
  set.add(listener);
  return () => void set.delete(listener);
}

/** Kinds that make HostedArrayGuests, and keep them for the test by name; `onMake` sees each before its node does. */
export function arrayGuestKinds(onMake: (guest: HostedArrayGuest) => void = () => undefined): {
  kinds: GuestKinds;
  guests: Map<string, HostedArrayGuest[]>;
} {
  const guests = new Map<string, HostedArrayGuest[]>();
  const make = (definition: GuestDefinition) => {
    const guest = new HostedArrayGuest(definition);
    guests.set(definition.name, [...(guests.get(definition.name) ?? []), guest]);
    onMake(guest);
    return Promise.resolve(guest);
  };
  const kind: GuestKind = {
    check: (_definition, image) => {
      if (image?.length === 0) throw new MigrationError('invalid-image', 'the image is empty');
    },
    boot: make,
    incoming: async (definition) => started(await make(definition)),
    regions: ({ memory }) => [{ name: 'ram0', bytes: memory }],
  };
  return {
    guests,
    kinds: { embedded: kind, qemu: kind },
  };
}
