/* Purchases kept on this till while the network is away, in IndexedDB; each is sent until the server knows it. */

const NAME = "till";
const STORE = "purchases";

function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "key" });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function within(mode, work) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode, { durability: "strict" });
      const asked = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

export const all = () => within("readonly", (store) => store.getAll());
export const keep = (item) => within("readwrite", (store) => store.put(item));
export const drop = (key) => within("readwrite", (store) => store.delete(key));

const AT_ONCE = 20;
let busy = null;

/**
 * Send what is kept, oldest first. What the server took or knew already goes; what it refused stays with its words.
 * Two at once would ask twice, so the second waits for the first, in other tabs too. Gives how many went and stayed.
 */
export function drain(send) {
  busy ??= exclusively(() => drained(send)).finally(() => (busy = null));
  return busy;
}

function exclusively(work) {
  return navigator.locks ? navigator.locks.request("till-queue", work) : work();
}

async function drained(send) {
  const result = { sent: 0, refused: 0 };
  const waiting = (await all()).filter((item) => !item.words).sort((a, b) => a.occurred_at - b.occurred_at);
  for (let i = 0; i < waiting.length; i += AT_ONCE) {
    const { items } = await send(waiting.slice(i, i + AT_ONCE).map(({ shown, ...item }) => item));
    for (const one of items) {
      const item = waiting.find(({ key }) => key === one.key);
      if (!item) continue;
      if (one.state === "refused") await keep({ ...item, words: one.words });
      else await drop(one.key);
      result[one.state === "refused" ? "refused" : "sent"] += 1;
    }
  }
  return result;
}
