import type { JSX } from "preact";

const FIRST_KEY = "headrace keys create --owner NAME --admin --store URL";

/** A relay that has no keys yet: how it gets the first. */
export function NoKeysYet(): JSX.Element {
  return (
    <div class="notice">
      <p class="notice-title">This relay has no keys yet</p>
      <p>Until it has one it listens on this machine only, and whoever reaches it may do everything.</p>
      <p>Make the first key where its store is, with the store's URL as the relay has it:</p>
      <pre class="keys-command">
        <code>{FIRST_KEY}</code>
      </pre>
      <p>
        From then on every request needs a key. This page will ask for it; as an admin you then make, rotate and revoke
        keys here.
      </p>
    </div>
  );
}

/** A reader who may not manage keys. */
export function AdminsOnly({ owner }: { owner: string }): JSX.Element {
  return (
    <div class="notice">
      <p class="notice-title">Keys are managed by admins</p>
      <p>
        You use a member's key of {owner}. Ask an admin of this relay for a new key, a higher limit or a rotation.{" "}
        <a href="#/usage">See what you have used</a>.
      </p>
    </div>
  );
}
