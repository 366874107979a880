// A shopper's side of the wire (docs/protocol.yaml): turns put together from numbered frames, over connections that come
// and go. It knows nothing of the page; `changed(turn)`, `state(name)` and `forgotten()` tell it what to draw.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const PING_MS = 4 * 60 * 1000; // the gateway closes a connection that is idle for ten minutes

export class Client {
  #socket = null;
  #waitMs = FIRST_WAIT_MS;
  #pinging = 0;
  #turns = new Map(); // by message id
  #session = crypto.randomUUID(); // made here, so that it can be deleted before its first answer
  #unforgotten = new Set(); // sessions to be deleted, until the server says so

  constructor({ user, changed, state, forgotten }) {
    this.user = user;
    this.forgotten = forgotten;
    this.changed = changed;
    this.state = state;
  }

  connect() {
    this.#open();
    addEventListener("online", () => this.#socket ?? this.#open());
  }

  ask(text) {
    const turn = {
      messageId: crypto.randomUUID(), sessionId: this.#session, question: text,
      id: null, seq: -1, text: "", pieces: [], switches: [], end: null, error: null, unwanted: false,
    };
    this.#turns.set(turn.messageId, turn);
    this.#sendAsk(turn);
    this.changed(turn);
    return turn;
  }

  // A turn that has no id yet is cancelled as soon as it has one.
  cancel(turn) {
    turn.unwanted = true;
    if (turn.id && !isOver(turn)) this.#send({ action: "cancel", turn_id: turn.id });
  }

  rate(turn, rating) {
    this.#send({ action: "feedback", turn_id: turn.id, rating });
  }

  // Delete what was said. A broken connection loses the wish, so it is sent again until it is answered.
  forget() {
    if (this.#turns.size > 0) {
      this.#unforgotten.add(this.#session);
      this.#sendForget(this.#session);
    }
    this.begin();
  }

  // The next question begins a conversation of its own.
  begin() {
    this.#session = crypto.randomUUID();
    this.#turns.clear();
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async #open() {
    this.state("connecting");
    let socket;
    try {
      const answer = await fetch(`/twin/token?user=${encodeURIComponent(this.user)}`);
      const { token } = await answer.json();
      socket = new WebSocket(`ws://${location.host}/live`, ["mangaassist", token]);
    } catch {
      this.#again("closed");
      return;
    }
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#waitMs = FIRST_WAIT_MS;
      this.#pinging = setInterval(() => this.#send({ action: "ping" }), PING_MS);
      this.state("open");
      this.#catchUp();
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = () => {
      clearInterval(this.#pinging);
      this.#socket = null;
      this.#again(opened ? "closed" : "refused");
    };
  }

  #again(name) {
    this.state(name);
    setTimeout(() => this.#socket ?? this.#open(), this.#waitMs * (0.75 + Math.random() / 2));
    this.#waitMs = Math.min(LONGEST_WAIT_MS, this.#waitMs * 2);
  }

  // Ask again what was not begun (the message id makes that safe), and for the rest of what was.
  #catchUp() {
    for (const session of this.#unforgotten) this.#sendForget(session);
    for (const turn of this.#turns.values()) {
      if (isOver(turn)) continue;
      if (turn.id) this.#send({ action: "resume", turn_id: turn.id, after: turn.seq });
      else this.#sendAsk(turn);
      if (turn.unwanted) this.cancel(turn);
    }
  }

  #sendAsk(turn) {
    // The same when it is sent again: the session is part of what the message is.
    this.#send({ action: "ask", message: turn.question, message_id: turn.messageId, session_id: turn.sessionId });
  }

  #sendForget(session) {
    this.#send({ action: "forget", session_id: session });
  }

  #send(frame) {
    if (this.connected) this.#socket.send(JSON.stringify(frame));
  }

  #receive(frame) {
    if (frame.turn_id === undefined) {
      if (frame.type === "forgotten" && this.#unforgotten.delete(frame.session_id)) this.forgotten();
      if (frame.type === "error" || frame.requestId) this.#refused(frame);
      return;
    }
    const turn = this.#turnOf(frame);
    if (!turn || frame.seq <= turn.seq) return; // another conversation's, or seen before
    if (frame.seq > turn.seq + 1) {
      this.#send({ action: "resume", turn_id: frame.turn_id, after: turn.seq });
      return;
    }
    turn.seq = frame.seq;
    follow(turn, frame);
    if (frame.type === "start" && turn.unwanted) this.cancel(turn);
    this.changed(turn);
  }

  #turnOf(frame) {
    if (frame.type === "start") return this.#turns.get(frame.message_id);
    return [...this.#turns.values()].find((turn) => turn.id === frame.turn_id);
  }

  // An error outside turns answers a frame that could not be served: the oldest question that has not begun.
  // The gateway's own notices (a request id, no type) are about a message that broke or took too long.
  #refused(frame) {
    const open = [...this.#turns.values()].filter((turn) => !isOver(turn));
    const turn = open.find((turn) => !turn.id) ?? (frame.requestId ? open[0] : undefined);
    if (!turn) return;
    if (turn.id) {
      this.#send({ action: "resume", turn_id: turn.id, after: turn.seq });
      return;
    }
    turn.error = { code: frame.code ?? "gateway", message: frame.type ? frame.message : null, reference: frame.reference ?? frame.requestId };
    this.changed(turn);
  }
}

export const isOver = (turn) => turn.end !== null || turn.error !== null;

// What one frame makes of a turn; its text is the concatenation of the deltas since the last restart.
export function follow(turn, frame) {
  switch (frame.type) {
    case "start":
      turn.id = frame.turn_id;
      break;
    case "delta":
      turn.text += frame.text;
      turn.pieces.push(frame.text);
      break;
    case "restart":
      turn.text = "";
      turn.pieces = [];
      turn.switches.push(frame);
      break;
    case "continue":
      turn.switches.push(frame);
      break;
    case "end":
      turn.end = frame;
      break;
    case "error":
      turn.error = frame;
      break;
  }
}
