# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=False
"""Runs the programs of plans in C: of scans over a record's bytes, of texts over what a scan has found, and of outputs.

It decides nothing: programs are made by `wire/native_scan.py`, `mapping/native_text.py` and `native_outputs.py`, and
what is refused here is mapped by the reference. Each length is held against the bytes that are left before anything is read.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    // In C, as Cython would convert numbers of 128 bits to shorter ones between two operations.
    // The digits of a number of up to 16 bytes, big-endian with a sign, the last one first; how many.
    static int digits_of_number(const unsigned char *at, const unsigned char *end, unsigned char *digits, int *is_negative) {
        const uint64_t part_limit = 1000000000000000000u;  // a division of 128 bits is slow
        unsigned __int128 rest = at < end && (*at & 0x80) ? ~(unsigned __int128)0 : 0;
        int count = 0;
        *is_negative = rest != 0;
        while (at < end) rest = rest << 8 | *at++;
        if (*is_negative) rest = -rest;
        while (rest) {
            uint64_t part = (uint64_t)(rest % part_limit);
            rest /= part_limit;
            for (int index = 0; index < 18 && (part || rest); index++) {
                digits[count++] = (unsigned char)('0' + part % 10);
                part /= 10;
            }
        }
        return count;
    }

    static PyObject *named_tuple(PyTypeObject *type, PyObject *fields) {
        PyObject *arguments = PyTuple_Pack(1, fields), *made;
        if (arguments == NULL) return NULL;
        made = PyTuple_Type.tp_new(type, arguments, NULL);
        Py_DECREF(arguments);
        return made;
    }
    """
    const char* PROCESSOR_VERSION  # given to the compiler
    object named_tuple(type, tuple)  # of a class that was made by NamedTuple, and all of its fields
    int digits_of_number(const uint8_t* at, const uint8_t* end, uint8_t* digits, int* is_negative) noexcept

ctypedef const uint8_t* Bytes

VERSION = PROCESSOR_VERSION.decode()

cdef enum:
    FRAME_BYTES = 5  # in front of a value
    MAX_CODES = 4  # of currencies, for one amount
    MAX_SCALE = 60  # digits of an amount behind the point
    FIRST_BUFFER_BYTES = 512
    MAX_KEPT_BUFFER_BYTES = 65_536  # a larger one shrinks after its use: each text and output of each template has its own


# ---------------------------------------------------------------------------------------------------------------------
# What a scan has found


cdef struct Span:
    int32_t start  # -1: missing
    int32_t end


cdef class Slots:
    """The slots of one record: where the values stand in its bytes. `slots[n]` are the bytes of one, as `plain_scan`
    gives them; None: missing."""

    cdef bytes data
    cdef Span* spans
    cdef int count

    def __dealloc__(self):
        PyMem_Free(self.spans)

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        cdef Span* span = &self.spans[index]
        if span.start < 0:
            return None
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.data) + span.start, span.end - span.start)


# ---------------------------------------------------------------------------------------------------------------------
# Scans

cdef enum:
    BOOLEAN
    INT
    LONG
    DATE
    TIMESTAMP
    DECIMAL
    SYMBOL
    TEXT
    KEY
    UUID
    TENANT
    CARD_TOKEN
    BYTES
    FIXED
    CHOICE
    KEPT
    KEPT_END
    ITEMS
    ENTRIES
    BRANCH
    WHOLE

SCAN_OPERATIONS = {
    "boolean": BOOLEAN,
    "int": INT,
    "long": LONG,
    "date": DATE,
    "timestamp": TIMESTAMP,
    "decimal": DECIMAL,
    "symbol": SYMBOL,
    "text": TEXT,
    "key": KEY,
    "uuid": UUID,
    "tenant": TENANT,
    "card token": CARD_TOKEN,
    "bytes": BYTES,
    "fixed": FIXED,
    "CHOICE": CHOICE,
    "KEPT": KEPT,
    "KEPT_END": KEPT_END,
    "ITEMS": ITEMS,
    "ENTRIES": ENTRIES,
    "BRANCH": BRANCH,
    "WHOLE": WHOLE,
}
"""Name of an operation -> its code."""

cdef enum:
    MAX_KEYS = 64  # of a map: each is compared with all before it


cdef struct ScanOp:
    int32_t code
    int32_t slot  # -1: not kept
    int32_t a
    int32_t b


cdef struct Cursor:
    Bytes base
    Bytes at
    Bytes end
    Span* spans


cdef class NativeScan:
    """A scan program, as a function: the slots of the record that stands in the bytes from an index to their end; None:
    refused. Raises nothing of its own."""

    cdef ScanOp* ops
    cdef int op_count
    cdef int slot_count
    cdef Bytes* tables
    cdef list symbol_tables  # of enums: a byte for each symbol, 1 where the reader knows it
    cdef list readers  # of values that no operation reads: (bytes, index) -> the index behind it, or -1

    def __cinit__(self, list code, int slot_count, list symbol_tables, list readers):
        """`code` has (operation, slot, a, b) for each step; -1 is no slot."""
        cdef int index
        self.op_count = len(code)
        self.slot_count = slot_count
        self.symbol_tables = symbol_tables
        self.readers = readers
        self.ops = <ScanOp*>PyMem_Calloc(self.op_count + 1, sizeof(ScanOp))
        self.tables = <Bytes*>PyMem_Calloc(len(symbol_tables) + 1, sizeof(Bytes))
        if self.ops == NULL or self.tables == NULL:
            raise MemoryError
        for index, (operation, slot, a, b) in enumerate(code):
            if not -1 <= slot < slot_count:
                raise ValueError(f"slot {slot} of {slot_count}")
            self.ops[index] = ScanOp(operation, slot, a, b)
        for index, table in enumerate(symbol_tables):
            self.tables[index] = <Bytes>PyBytes_AS_STRING(<bytes?>table)

    def __dealloc__(self):
        PyMem_Free(self.ops)
        PyMem_Free(self.tables)

    def __call__(self, bytes data not None, Py_ssize_t at):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if not 0 <= at <= size or size > 0x7FFFFFFF:
            return None
        cdef Slots slots = self.new_slots()
        return slots if self.fill(slots, data, at) else None

    cdef Slots new_slots(self):
        cdef Slots slots = Slots.__new__(Slots)
        slots.spans = <Span*>PyMem_Calloc(self.slot_count + 1, sizeof(Span))
        if slots.spans == NULL:
            raise MemoryError
        slots.count = self.slot_count
        return slots

    cdef bint fill(self, Slots slots, bytes data, Py_ssize_t at) except? False:
        """Whether the record from `at` on, which lies within `data`, is accepted; then each slot is set."""
        cdef Cursor cursor
        slots.data = data
        cursor.base = <Bytes>PyBytes_AS_STRING(data)
        cursor.at = cursor.base + at
        cursor.end = cursor.base + PyBytes_GET_SIZE(data)
        cursor.spans = slots.spans
        return self.run(0, self.op_count, &cursor, data) and cursor.at == cursor.end

    cdef bint run(self, int first, int behind, Cursor* cursor, bytes data) except? False:
        """Whether the operations from `first` on accept what comes."""
        cdef int index = first
        cdef int branch, inner
        cdef bint is_scanned
        cdef ScanOp* op
        cdef Bytes start
        while index < behind:
            op = &self.ops[index]
            index += 1
            start = cursor.at
            if op.code == CHOICE:  # slot: the first within, a: null's index | flags << 1 | slots << 3, b: operations
                if start >= cursor.end:
                    return False
                branch = start[0]
                cursor.at = start + 1
                if branch == 2 * (1 - (op.a & 1)) and op.a & 4:
                    continue
                if branch != 2 * (op.a & 1) or not op.a & 2:
                    return False
                for inner in range(op.slot, op.slot + (op.a >> 3)):
                    cursor.spans[inner].start = -1
                index += op.b
                continue
            if op.code == KEPT:
                cursor.spans[op.slot].start = <int32_t>(start - cursor.base)
                continue
            if op.code == KEPT_END:
                cursor.spans[op.slot].end = <int32_t>(start - cursor.base)
                continue
            if op.code < CHOICE:
                if not scan_leaf(op, cursor, self.tables):
                    return False
            elif op.code == ITEMS or op.code == ENTRIES:  # a: reader, b: operations of an item, or of all branches
                if op.code == ITEMS:
                    is_scanned = self.scan_items(index, index + op.b, cursor, data)
                else:
                    is_scanned = self.scan_entries(index, index + op.b, cursor, data)
                if not is_scanned:
                    cursor.at = start
                    if not self.read_past(op.a, cursor, data):
                        return False
                index += op.b
            elif op.code == WHOLE:  # a: reader
                if not self.read_past(op.a, cursor, data):
                    return False
            else:
                return False
            if op.slot >= 0:
                cursor.spans[op.slot].start = <int32_t>(start - cursor.base)
                cursor.spans[op.slot].end = <int32_t>(cursor.at - cursor.base)
        return True

    cdef bint scan_items(self, int first, int behind, Cursor* cursor, bytes data) except? False:
        """An array of one block."""
        cdef int count
        if not scan_length(cursor, &count):  # no item has no bytes
            return False
        if count == 0:
            return True
        for _ in range(count):
            if not self.run(first, behind, cursor, data):
                return False
        return scan_end(cursor)

    cdef bint scan_entries(self, int first, int behind, Cursor* cursor, bytes data) except? False:
        """A map of one block whose keys differ, and whose values are a union: a BRANCH before each one's operations."""
        cdef int count, index, branch, entry, other
        cdef Bytes[MAX_KEYS] keys
        cdef Bytes start
        if not scan_length(cursor, &count):
            return False
        if count == 0:
            return True
        if count > MAX_KEYS:
            return False
        for entry in range(count):
            start = cursor.at
            if not scan_text(cursor):
                return False
            keys[entry] = start
            for other in range(entry):
                if is_same_text(keys[other], start):
                    return False
            if not scan_index(cursor, &branch):
                return False
            index = first
            while branch > 0 and index < behind:
                index += 1 + self.ops[index].b
                branch -= 1
            if index >= behind or not self.ops[index].a:
                return False
            if not self.run(index + 1, index + 1 + self.ops[index].b, cursor, data):
                return False
        return scan_end(cursor)

    cdef bint read_past(self, int reader, Cursor* cursor, bytes data) except? False:
        """A value that the reference reads."""
        cdef Py_ssize_t end = self.readers[reader](data, cursor.at - cursor.base)
        if not cursor.at - cursor.base <= end <= cursor.end - cursor.base:
            return False
        cursor.at = cursor.base + end
        return True


cdef bint scan_leaf(ScanOp* op, Cursor* cursor, Bytes* tables) noexcept:
    cdef Bytes at = cursor.at
    cdef Py_ssize_t left = cursor.end - at
    cdef int size, index
    if left <= 0:
        return op.code == FIXED and op.a == 0
    if op.code == TEXT:
        return scan_text(cursor)
    if op.code == DECIMAL:  # a: most bytes
        size = at[0] >> 1
        if at[0] & 0x81 or not 1 <= size <= op.a or size >= left:
            return False
        cursor.at = at + 1 + size
        return True
    if op.code == KEY:
        if at[0] != 64 or left < 33 or not are_hex(at + 1, 32):
            return False
        cursor.at = at + 33
        return True
    if op.code == DATE:
        return scan_date(cursor)
    if op.code == SYMBOL:  # a: table, b: symbols
        if not scan_index(cursor, &index):
            return False
        return index < op.b and tables[op.a][index]
    if op.code == TIMESTAMP:
        return scan_number(cursor, 8, 0x7F)
    if op.code == INT:
        return scan_number(cursor, 5, 0x0F)
    if op.code == LONG:
        return scan_number(cursor, 10, 0x01)
    if op.code == BOOLEAN:
        cursor.at = at + 1
        return at[0] <= 1
    if op.code == UUID:
        if at[0] != 72 or left < 37:
            return False
        if at[9] != c"-" or at[14] != c"-" or at[19] != c"-" or at[24] != c"-":
            return False
        if not are_hex(at + 1, 8) or not are_hex(at + 25, 12):
            return False
        if not are_hex(at + 10, 4) or not are_hex(at + 15, 4) or not are_hex(at + 20, 4):
            return False
        cursor.at = at + 37
        return True
    if op.code == TENANT:
        size = at[0] >> 1
        if at[0] & 0x81 or not 1 <= size <= 63 or size >= left:
            return False
        for index in range(1, size + 1):
            if not (c"a" <= at[index] <= c"z" or c"0" <= at[index] <= c"9" or (at[index] == c"-" and index > 1)):
                return False
        cursor.at = at + 1 + size
        return True
    if op.code == BYTES:
        if not scan_length(cursor, &size):
            return False
        cursor.at += size
        return True
    if op.code == CARD_TOKEN:
        return scan_text(cursor) and not is_card_number(content_of(at), cursor.at)
    if op.code == FIXED:  # a: bytes
        if left < op.a:
            return False
        cursor.at = at + op.a
        return True
    return False


cdef inline bint are_hex(Bytes at, int count) noexcept:
    """Whether they are hexadecimal digits, letters in lower case. Without an early end, so that the compiler takes many
    at once."""
    cdef uint8_t others = 0
    cdef int index
    for index in range(count):
        others |= (<uint8_t>(at[index] - c"0") > 9) & (<uint8_t>(at[index] - c"a") > 5)
    return others == 0


cdef inline int short_number(Bytes at) noexcept:
    """Of one byte or two, not negative."""
    return at[0] >> 1 if at[0] < 0x80 else ((at[0] & 0x7F) | <int>at[1] << 7) >> 1


cdef bint scan_index(Cursor* cursor, int* index) noexcept:
    """Of a symbol or branch: one or two bytes, no more than it needs."""
    cdef Bytes at = cursor.at
    cdef Py_ssize_t left = cursor.end - at
    if left < 1 or at[0] & 1:
        return False
    if at[0] >= 0x80 and (left < 2 or not 1 <= at[1] <= 0x7F):
        return False
    index[0] = short_number(at)
    cursor.at = content_of(at)
    return True


cdef bint scan_length(Cursor* cursor, int* length) noexcept:
    """How many bytes, items or entries follow: one or two bytes, and no more than the bytes that are left."""
    return scan_index(cursor, length) and length[0] <= cursor.end - cursor.at


cdef bint scan_text(Cursor* cursor) noexcept:
    """UTF-8 with its length in front."""
    cdef int size
    if not scan_length(cursor, &size):
        return False
    if not is_utf8(cursor.at, cursor.at + size):
        return False
    cursor.at += size
    return True


cdef inline Bytes content_of(Bytes text) noexcept:
    """Of a text with its length."""
    return text + 1 if text[0] < 0x80 else text + 2


cdef bint is_same_text(Bytes one, Bytes other) noexcept:
    """Of two texts with their lengths in front."""
    cdef int size = short_number(one)
    return short_number(other) == size and memcmp(content_of(one), content_of(other), size) == 0


cdef bint scan_number(Cursor* cursor, int most_bytes, uint8_t most_in_last) noexcept:
    """A number of at most so many bytes, of which the last of all of them has at most these bits."""
    cdef Bytes at = cursor.at
    cdef int count = 1
    while at < cursor.end:
        if at[0] < 0x80:
            cursor.at = at + 1
            return count < most_bytes or at[0] <= most_in_last
        at += 1
        count += 1
        if count > most_bytes:
            return False
    return False


cdef bint scan_date(Cursor* cursor) noexcept:
    """One or two bytes: any. Three: after 1970 up to the year 4840; before it from the year 17 on."""
    cdef Bytes at = cursor.at
    cdef Py_ssize_t left = cursor.end - at
    if at[0] < 0x80:
        cursor.at = at + 1
        return True
    if left >= 2 and at[1] < 0x80:
        cursor.at = at + 2
        return True
    if left >= 3 and at[2] <= (0x56 if at[0] & 1 else 0x7F):
        cursor.at = at + 3
        return True
    return False


cdef inline bint scan_end(Cursor* cursor) noexcept:
    """Of the blocks of an array or map."""
    if cursor.at >= cursor.end or cursor.at[0] != 0:
        return False
    cursor.at += 1
    return True


cdef bint is_utf8(Bytes at, Bytes end) noexcept:
    """As CPython has it: no surrogates, nothing overlong, nothing over U+10FFFF (RFC 3629)."""
    cdef uint64_t eight
    cdef uint8_t first, second
    while at < end:
        if end - at >= 8:
            memcpy(&eight, at, 8)
            if not eight & <uint64_t>0x8080808080808080:
                at += 8
                continue
        first = at[0]
        if first < 0x80:
            at += 1
            continue
        if end - at < 2 or (at[1] & 0xC0) != 0x80:
            return False
        second = at[1]
        if 0xC2 <= first <= 0xDF:
            at += 2
            continue
        if end - at < 3 or (at[2] & 0xC0) != 0x80:
            return False
        if (first & 0xF0) == 0xE0:
            if (first == 0xE0 and second < 0xA0) or (first == 0xED and second >= 0xA0):
                return False
            at += 3
            continue
        if end - at < 4 or (at[3] & 0xC0) != 0x80 or not 0xF0 <= first <= 0xF4:
            return False
        if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second >= 0x90):
            return False
        at += 4
    return True


cdef bint is_card_number(Bytes at, Bytes end) noexcept:
    """13 to 19 digits that pass the Luhn check, with spaces and hyphens between them or not."""
    cdef int[19] digits
    cdef int count = 0, total = 0, index, value
    while at < end:
        if at[0] != c" " and at[0] != c"-":
            if not c"0" <= at[0] <= c"9" or count == 19:
                return False
            digits[count] = at[0] - c"0"
            count += 1
        at += 1
    if count < 13:
        return False
    for index in range(count):
        value = digits[count - 1 - index] * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


# ---------------------------------------------------------------------------------------------------------------------
# Texts, and one that grows

cdef struct Text:
    Bytes data  # NULL: none
    Py_ssize_t size


cdef inline Text text_of(bytes value):
    return Text(NULL, 0) if value is None else Text(<Bytes>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef struct Buffer:
    uint8_t* data
    Py_ssize_t size
    Py_ssize_t capacity


cdef bint reserve(Buffer* buffer, Py_ssize_t more) except False:
    """Make room for `more` bytes."""
    cdef Py_ssize_t needed = buffer.size + more
    cdef uint8_t* grown
    if needed > buffer.capacity:
        needed += needed >> 1
        grown = <uint8_t*>PyMem_Realloc(buffer.data, needed)
        if grown == NULL:
            raise MemoryError
        buffer.data = grown
        buffer.capacity = needed
    return True


cdef inline bint add(Buffer* buffer, const void* data, Py_ssize_t size) except False:
    reserve(buffer, size)
    memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return True


cdef inline void empty(Buffer* buffer) noexcept:
    """After its use. A large one becomes as it was at first: never NULL, which stands for no text."""
    cdef uint8_t* shrunk
    buffer.size = 0
    if buffer.capacity > MAX_KEPT_BUFFER_BYTES:
        shrunk = <uint8_t*>PyMem_Realloc(buffer.data, FIRST_BUFFER_BYTES)
        if shrunk != NULL:
            buffer.data = shrunk
            buffer.capacity = FIRST_BUFFER_BYTES


# ---------------------------------------------------------------------------------------------------------------------
# Escapes: as `escape.py` has them, of UTF-8. What the reference would replace or fail is refused.

cdef enum:
    AS_IS
    JSON_STRING
    JSON_VALUE
    XML
    HTML
    PERCENT
    PATH_PART
    PATH_STEP

ESCAPES = {
    "TEXT": AS_IS,
    "JSON_STRING": JSON_STRING,
    "JSON_VALUE": JSON_VALUE,
    "XML": XML,
    "HTML": HTML,
    "URL": PERCENT,
    "URL_PATH": PATH_PART,
    "HTML_URL": PERCENT,
    "HTML_STEP": PATH_STEP,
}
"""Context -> how a text is escaped for it. Of any other context a text is written in Python."""

cdef Bytes HEX = <Bytes>b"0123456789abcdef"
cdef Bytes CAPITAL_HEX = <Bytes>b"0123456789ABCDEF"

# Whether a byte is written otherwise than as it is.
cdef uint8_t[256] IN_JSON
cdef uint8_t[256] IN_XML
cdef uint8_t[256] IN_HTML
cdef uint8_t[256] UNRESERVED


cdef void fill_tables() noexcept:
    cdef int byte
    for byte in range(256):
        IN_JSON[byte] = 1 if byte < 0x20 or byte == c'"' or byte == c"\\" else 0
        IN_HTML[byte] = 1 if byte in (0, c"&", c"<", c">", c'"', c"'", c"\r") else 0
        IN_XML[byte] = 1 if byte < 0x20 or byte in (c"&", c"<", c">", c'"', c"'", 0xEF) else 0
        UNRESERVED[byte] = (
            c"0" <= byte <= c"9" or c"A" <= byte <= c"Z" or c"a" <= byte <= c"z" or byte in (c"_", c".", c"-", c"~")
        )


fill_tables()


cdef bint escape(Buffer* buffer, Bytes at, Bytes end, int how) except? False:
    """Add a text as it stands in a context; False: refused."""
    cdef Py_ssize_t size = end - at
    if how == AS_IS:
        return add(buffer, at, size)
    if how == JSON_STRING or how == JSON_VALUE:
        reserve(buffer, 6 * size + 2)
        if how == JSON_VALUE:
            put(buffer, c'"')
        escape_json(buffer, at, end)
        if how == JSON_VALUE:
            put(buffer, c'"')
        return True
    if how == HTML or how == XML:
        reserve(buffer, 6 * size)
        return escape_markup(buffer, at, end, how == XML)
    if how == PATH_PART and size == 0:
        return False
    if how == PATH_STEP and 1 <= size <= 2 and at[0] == c"." and at[size - 1] == c".":
        return False
    reserve(buffer, 3 * size)
    escape_percent(buffer, at, end)
    return True


cdef inline void put(Buffer* buffer, uint8_t byte) noexcept:
    """Where there is room."""
    buffer.data[buffer.size] = byte
    buffer.size += 1


cdef inline void put_text(Buffer* buffer, const char* text, int size) noexcept:
    memcpy(buffer.data + buffer.size, text, size)
    buffer.size += size


cdef void escape_json(Buffer* buffer, Bytes at, Bytes end) noexcept:
    """As `json.encoder.encode_basestring`, which leaves U+007F and what is not ASCII as it is."""
    cdef uint8_t byte
    while at < end:
        byte = at[0]
        at += 1
        if not IN_JSON[byte]:
            put(buffer, byte)
        elif byte == c'"' or byte == c"\\":
            put(buffer, c"\\")
            put(buffer, byte)
        elif byte == c"\n":
            put_text(buffer, b"\\n", 2)
        elif byte == c"\r":
            put_text(buffer, b"\\r", 2)
        elif byte == c"\t":
            put_text(buffer, b"\\t", 2)
        elif byte == 0x0C:
            put_text(buffer, b"\\f", 2)
        elif byte == 0x08:
            put_text(buffer, b"\\b", 2)
        else:
            put_text(buffer, b"\\u00", 4)
            put(buffer, HEX[byte >> 4])
            put(buffer, HEX[byte & 0x0F])


cdef bint escape_markup(Buffer* buffer, Bytes at, Bytes end, bint is_xml) noexcept:
    cdef uint8_t* escaped = &IN_XML[0] if is_xml else &IN_HTML[0]
    cdef uint8_t byte
    while at < end:
        byte = at[0]
        if not escaped[byte]:
            put(buffer, byte)
        elif byte == c"&":
            put_text(buffer, b"&amp;", 5)
        elif byte == c"<":
            put_text(buffer, b"&lt;", 4)
        elif byte == c">":
            put_text(buffer, b"&gt;", 4)
        elif byte == c'"':
            put_text(buffer, b"&quot;", 6)
        elif byte == c"'":
            put_text(buffer, b"&#39;", 5)
        elif byte == c"\r":
            put_text(buffer, b"&#13;", 5)
        elif byte == c"\t" and is_xml:
            put_text(buffer, b"&#9;", 4)
        elif byte == c"\n" and is_xml:
            put_text(buffer, b"&#10;", 5)
        elif byte == 0xEF and not (at[1] == 0xBF and at[2] >= 0xBE):  # U+FFFE and U+FFFF are no characters of XML
            put(buffer, byte)
        else:
            return False
        at += 1
    return True


cdef void escape_percent(Buffer* buffer, Bytes at, Bytes end) noexcept:
    """As `urllib.parse.quote` without safe characters."""
    while at < end:
        if UNRESERVED[at[0]]:
            put(buffer, at[0])
        else:
            put(buffer, c"%")
            put(buffer, CAPITAL_HEX[at[0] >> 4])
            put(buffer, CAPITAL_HEX[at[0] & 0x0F])
        at += 1


cdef Py_ssize_t count_characters(Bytes at, Bytes end) noexcept:
    cdef Py_ssize_t count = 0
    while at < end:
        count += (at[0] & 0xC0) != 0x80
        at += 1
    return count


# ---------------------------------------------------------------------------------------------------------------------
# Numbers and days


cdef uint64_t zig_zag_bits(Bytes at, Bytes end) noexcept:
    cdef uint64_t bits = 0
    cdef int shift = 0
    while at < end:
        bits |= <uint64_t>(at[0] & 0x7F) << shift
        shift += 7
        at += 1
    return bits


cdef inline int64_t read_number(Bytes at, Bytes end) noexcept:
    cdef uint64_t bits = zig_zag_bits(at, end)
    return <int64_t>(bits >> 1) ^ -<int64_t>(bits & 1)


cdef int write_amount(uint8_t* text, Bytes at, Bytes end, int scale, int least_digits) noexcept:
    """Write a decimal of up to 15 bytes (its length is not in front) with at least so many digits behind the point, and
    no more zeros than that; how many bytes."""
    cdef uint8_t[40 + MAX_SCALE] digits
    cdef int is_negative, index, behind, size = 0
    cdef int count = digits_of_number(at, end, digits, &is_negative)
    if is_negative:
        text[0] = c"-"
        size = 1
    while count <= scale:
        digits[count] = c"0"
        count += 1
    for index in range(count - 1, scale - 1, -1):
        text[size] = digits[index]
        size += 1
    behind = 0  # the first digit that is none of the zeros at the end
    while behind < scale and digits[behind] == c"0":
        behind += 1
    if behind == scale and least_digits == 0:
        return size
    text[size] = c"."
    size += 1
    for index in range(scale - 1, behind - 1, -1):
        text[size] = digits[index]
        size += 1
    for index in range(scale - behind, least_digits):
        text[size] = c"0"
        size += 1
    return size


cdef inline void two_digits(uint8_t* text, int64_t number) noexcept:
    text[0] = c"0" + <uint8_t>(number // 10)
    text[1] = c"0" + <uint8_t>(number % 10)


cdef int write_day(uint8_t* text, int64_t days) noexcept:
    """Write days since 1970, within the years 1 to 9999, as ten characters; how many bytes. By the days of 400 years,
    which repeat, counted from a 1st of March: https://howardhinnant.github.io/date_algorithms.html"""
    cdef int64_t shifted = days + 719468
    cdef int64_t era = shifted // 146097
    cdef int64_t of_era = shifted - era * 146097
    cdef int64_t year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int64_t month = (5 * of_year + 2) // 153
    cdef int64_t day = of_year - (153 * month + 2) // 5 + 1
    cdef int64_t year = year_of_era + era * 400
    month += 3 if month < 10 else -9
    if month <= 2:
        year += 1
    two_digits(text, year // 100)
    two_digits(text + 2, year % 100)
    text[4] = c"-"
    two_digits(text + 5, month)
    text[7] = c"-"
    two_digits(text + 8, day)
    return 10


# ---------------------------------------------------------------------------------------------------------------------
# Texts

cdef enum:
    WRITE_TEXT
    WRITE_AMOUNT
    WRITE_DAY
    WRITE_SYMBOL
    WRITE_BY_PYTHON

TEXT_OPERATIONS = {
    "TEXT": WRITE_TEXT,
    "AMOUNT": WRITE_AMOUNT,
    "DAY": WRITE_DAY,
    "SYMBOL": WRITE_SYMBOL,
    "PYTHON": WRITE_BY_PYTHON,
}
"""Name of an operation -> its code."""

cdef struct TextOp:
    int32_t code
    int32_t slot
    int32_t how
    int32_t scale
    int32_t least_digits
    int32_t code_count
    int32_t[MAX_CODES] code_slots
    Py_ssize_t limit  # of characters, before a text is escaped
    Text missing  # none: refused
    Text behind  # the constant behind it


cdef struct Currency:
    uint32_t code
    int32_t digits


cdef class NativeText:
    """A text's program, as a function of slots: the text, or None, refused. Raises what a writer in Python raises, but
    for `refused`."""

    cdef TextOp* ops
    cdef int op_count
    cdef list operations  # into whose bytes `ops` point
    cdef list symbols
    cdef list writers
    cdef Currency* currencies
    cdef int currency_count
    cdef Buffer buffer
    cdef bytes before
    cdef Py_ssize_t limit
    cdef object refused
    cdef int slot_count  # so many slots are needed at least
    cdef bint is_running

    def __cinit__(self, bytes before not None, list operations, dict currencies, Py_ssize_t limit, refused):
        """`before` is the constant before the first of `operations` (`native_text.py`). `currencies`: codes of three
        letters -> digits, of those that have not the usual number. A writer raises `refused`."""
        cdef int index
        cdef TextOp* op
        self.before = before
        self.limit = limit
        self.refused = refused
        self.operations, self.symbols, self.writers = operations, [], []
        self.op_count = len(operations)
        self.ops = <TextOp*>PyMem_Calloc(self.op_count + 1, sizeof(TextOp))
        self.currencies = <Currency*>PyMem_Calloc(len(currencies) + 1, sizeof(Currency))
        if self.ops == NULL or self.currencies == NULL:
            raise MemoryError
        reserve(&self.buffer, FIRST_BUFFER_BYTES)
        self.currency_count = len(currencies)
        for index, (name, digits) in enumerate(currencies.items()):
            self.currencies[index] = Currency(name[0] << 16 | name[1] << 8 | name[2], digits)
        for index, operation in enumerate(operations):
            slots = operation.slot, *operation.code_slots
            if min(slots) < 0 or len(slots) > 1 + MAX_CODES or not 0 <= operation.scale <= MAX_SCALE:
                raise ValueError(f"an operation out of bounds: {operation}")
            self.slot_count = max(self.slot_count, max(slots) + 1)
            op = &self.ops[index]
            op.code, op.slot, op.limit = operation.code, operation.slot, operation.limit
            op.how, op.scale, op.least_digits = operation.escape, operation.scale, operation.least_digits
            for code_slot in operation.code_slots:
                op.code_slots[op.code_count] = code_slot
                op.code_count += 1
            op.missing, op.behind = text_of(operation.missing), text_of(operation.behind)
            self.symbols.append(operation.symbols)
            self.writers.append(operation.writer)

    def __dealloc__(self):
        PyMem_Free(self.ops)
        PyMem_Free(self.currencies)
        PyMem_Free(self.buffer.data)

    def __call__(self, Slots slots not None):
        if not self.write_into_buffer(slots):
            return None
        text = self.decoded()
        empty(&self.buffer)
        return text

    cdef str decoded(self):
        return PyUnicode_DecodeUTF8(<const char*>self.buffer.data, self.buffer.size, NULL)

    cdef Py_ssize_t characters(self) noexcept:
        return count_characters(self.buffer.data, self.buffer.data + self.buffer.size)

    cdef bint write_into_buffer(self, Slots slots) except? False:
        """Whether the text is in the buffer now; False: refused."""
        cdef bint is_written = False
        if slots.count < self.slot_count:
            raise IndexError("slots of another program")
        if self.is_running:
            raise RuntimeError("a text is written while it is being written")
        self.is_running = True
        try:
            self.buffer.size = 0
            is_written = self.write(slots)
        finally:
            self.is_running = False
            if not is_written:
                empty(&self.buffer)
        return is_written

    cdef bint write(self, Slots slots) except? False:
        """Put the text into the buffer, which is empty; False: refused."""
        cdef Buffer* buffer = &self.buffer
        cdef int index
        cdef TextOp* op
        add(buffer, PyBytes_AS_STRING(self.before), PyBytes_GET_SIZE(self.before))
        for index in range(self.op_count):
            op = &self.ops[index]
            if not self.write_value(op, index, slots, buffer):
                return False
            add(buffer, op.behind.data, op.behind.size)
            if buffer.size > 4 * self.limit:
                return False
        return buffer.size <= self.limit or count_characters(buffer.data, buffer.data + buffer.size) <= self.limit

    cdef bint write_value(self, TextOp* op, int index, Slots slots, Buffer* buffer) except? False:
        cdef Bytes base, at, end
        cdef Span* span
        cdef uint8_t[64 + MAX_SCALE] scratch
        cdef Py_ssize_t number
        cdef int size
        if op.code == WRITE_BY_PYTHON:
            return self.write_by_python(index, slots, buffer)
        span = &slots.spans[op.slot]
        if span.start < 0:
            return op.missing.data != NULL and add(buffer, op.missing.data, op.missing.size)
        base = <Bytes>PyBytes_AS_STRING(slots.data)
        at = base + span.start
        end = base + span.end
        if op.code == WRITE_TEXT:
            at = content_of(at)
            if end - at > op.limit and count_characters(at, end) > op.limit:
                return False
            return escape(buffer, at, end, op.how)
        if op.code == WRITE_AMOUNT:
            size = write_amount(scratch, at + 1, end, op.scale, self.digits_of(op, slots, base))
        elif op.code == WRITE_DAY:
            size = write_day(scratch, read_number(at, end))
        else:
            symbols = <tuple?>self.symbols[index]
            number = <Py_ssize_t>(zig_zag_bits(at, end) >> 1)
            if number >= len(symbols):
                raise IndexError("a symbol of another program")
            text = <bytes?>symbols[number]
            return add(buffer, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        return escape(buffer, scratch, scratch + size, op.how)

    cdef int digits_of(self, TextOp* op, Slots slots, Bytes base) noexcept:
        """How many digits an amount has behind the point at least: by the first of its currencies that is there."""
        cdef int index, other
        cdef Span* span
        cdef Bytes at
        cdef uint32_t code
        for index in range(op.code_count):
            span = &slots.spans[op.code_slots[index]]
            if span.start < 0:
                continue
            if span.end - span.start == 4:  # with its length in front
                at = base + span.start
                code = <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]
                for other in range(self.currency_count):
                    if self.currencies[other].code == code:
                        return self.currencies[other].digits
            return op.least_digits
        return op.least_digits

    cdef bint write_by_python(self, int index, Slots slots, Buffer* buffer) except? False:
        try:
            text = (<str?>self.writers[index](slots)).encode()
        except self.refused:
            return False
        return add(buffer, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


# ---------------------------------------------------------------------------------------------------------------------
# Outputs

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    OF_KEY
    OF_EID
    OF_BODY
    OF_SUBJECT
    OF_DESTINATION
    OF_CAUSE
    OF_MISSING
    OF_RECIPIENT
    OF_AT
    OF_OCCURRED
    OF_TOPIC
    OF_PARTITION
    OF_OFFSET
    OF_SLOT

OUTPUT_SOURCES = {
    "key": OF_KEY,
    "eid": OF_EID,
    "body": OF_BODY,
    "subject": OF_SUBJECT,
    "destination": OF_DESTINATION,
    "cause": OF_CAUSE,
    "missing": OF_MISSING,
    "recipient": OF_RECIPIENT,
    "at": OF_AT,
    "occurred": OF_OCCURRED,
    "topic": OF_TOPIC,
    "partition": OF_PARTITION,
    "offset": OF_OFFSET,
    "slot": OF_SLOT,
}
"""What a hole is filled with -> its code."""

cdef enum:
    AS_BYTES
    AS_AVRO_TEXT
    AS_AVRO_LONG
    AS_JSON_TEXT
    AS_JSON_LONG
    AS_JSON_TIME

OUTPUT_ENCODINGS = {
    "bytes": AS_BYTES,
    "avro text": AS_AVRO_TEXT,
    "avro long": AS_AVRO_LONG,
    "json text": AS_JSON_TEXT,
    "json long": AS_JSON_LONG,
    "json time": AS_JSON_TIME,
}
"""How -> its code."""


cdef struct Hole:
    int32_t source
    int32_t encoding
    int32_t slot
    bint is_nullable
    Text constant  # what stands before the hole
    Text before  # around a value of one that is nullable
    Text after
    Text null


cdef struct MessageValues:
    Text[OF_RECIPIENT + 1] texts  # by their source; MISSING is encoded
    Text topic
    int64_t at
    int64_t occurred
    int64_t partition
    int64_t offset
    uint8_t[36] eid


cdef class NativeOutputs:
    """The outputs of a message, each a program of its own, as one function of the slots and of what was drafted."""

    cdef Hole** programs
    cdef int* hole_counts
    cdef Text* ends
    cdef bint* drops_first_comma
    cdef int program_count
    cdef int slot_count
    cdef list kept  # into whose bytes the programs point
    cdef Buffer buffer

    def __cinit__(self, list programs):
        """Of each output (`native_outputs.py`): its holes, the constant behind the last, and whether a comma that
        stands first is left out."""
        cdef int index, number
        cdef Hole* hole
        self.kept = programs
        self.program_count = len(programs)
        self.programs = <Hole**>PyMem_Calloc(self.program_count + 1, sizeof(Hole*))
        self.hole_counts = <int*>PyMem_Calloc(self.program_count + 1, sizeof(int))
        self.ends = <Text*>PyMem_Calloc(self.program_count + 1, sizeof(Text))
        self.drops_first_comma = <bint*>PyMem_Calloc(self.program_count + 1, sizeof(bint))
        if not (self.programs and self.hole_counts and self.ends and self.drops_first_comma):
            raise MemoryError
        reserve(&self.buffer, FIRST_BUFFER_BYTES)
        for index, (holes, end, drops_first_comma) in enumerate(programs):
            self.hole_counts[index] = len(holes)
            self.ends[index] = text_of(end)
            self.drops_first_comma[index] = drops_first_comma
            self.programs[index] = <Hole*>PyMem_Calloc(len(holes) + 1, sizeof(Hole))
            if self.programs[index] == NULL:
                raise MemoryError
            for number, each in enumerate(holes):
                hole = &self.programs[index][number]
                hole.source, hole.encoding, hole.slot = each.source, each.encoding, each.slot
                if each.slot < 0 or not 0 <= each.source <= OF_SLOT or not 0 <= each.encoding <= AS_JSON_TIME:
                    raise ValueError(f"a hole out of bounds: {each}")
                self.slot_count = max(self.slot_count, each.slot + 1)
                hole.is_nullable = each.null is not None
                hole.constant, hole.before, hole.after = text_of(each.constant), text_of(each.before), text_of(each.after)
                hole.null = text_of(each.null)

    def __dealloc__(self):
        cdef int index
        if self.programs != NULL:
            for index in range(self.program_count):
                PyMem_Free(self.programs[index])
        PyMem_Free(self.programs)
        PyMem_Free(self.hole_counts)
        PyMem_Free(self.ends)
        PyMem_Free(self.drops_first_comma)
        PyMem_Free(self.buffer.data)

    def write(
        self,
        Slots slots not None,
        bytes key not None,
        str body not None,
        str subject,
        str destination,
        str cause,
        bytes missing not None,
        str recipient,
        bytes topic not None,
        int64_t at,
        int64_t occurred,
        int64_t partition,
        int64_t offset,
    ):
        """The bytes of each output. `missing` is encoded; times are in milliseconds since 1970, in years 1 to 9999."""
        cdef MessageValues values
        cdef int index
        if slots.count < self.slot_count:
            raise IndexError("slots of another program")
        if PyBytes_GET_SIZE(key) != 32:
            raise ValueError("no key")
        values.texts[OF_KEY] = text_of(key)
        write_eid(values.eid, values.texts[OF_KEY].data)
        values.texts[OF_EID] = Text(&values.eid[0], 36)
        values.texts[OF_BODY] = utf8_of(body)
        values.texts[OF_SUBJECT] = utf8_of(subject)
        values.texts[OF_DESTINATION] = utf8_of(destination)
        values.texts[OF_CAUSE] = utf8_of(cause)
        values.texts[OF_MISSING] = text_of(missing)
        values.texts[OF_RECIPIENT] = utf8_of(recipient)
        values.topic = text_of(topic)
        values.at, values.occurred, values.partition, values.offset = at, occurred, partition, offset
        return [self.write_output(index, slots, &values) for index in range(self.program_count)]

    cdef bytes write_output(self, int index, Slots slots, MessageValues* values):
        cdef Buffer* buffer = &self.buffer
        cdef Hole* hole
        cdef int number
        cdef int skipped = 0
        cdef Text text
        buffer.size = 0
        for number in range(self.hole_counts[index]):
            hole = &self.programs[index][number]
            add(buffer, hole.constant.data, hole.constant.size)
            text = Text(NULL, 0)
            if hole.source <= OF_RECIPIENT:
                text = values.texts[hole.source]
            elif hole.source == OF_TOPIC:
                text = values.topic
            elif hole.source == OF_SLOT:
                text = content_of_slot(slots, hole.slot)
            else:
                add_number(buffer, number_of(hole.source, values), hole.encoding)
                continue
            if text.data == NULL:
                if not hole.is_nullable:
                    raise ValueError("a value that is never null is missing")
                add(buffer, hole.null.data, hole.null.size)
                continue
            if hole.is_nullable:
                add(buffer, hole.before.data, hole.before.size)
            add_text(buffer, text, hole.encoding)
            if hole.is_nullable:
                add(buffer, hole.after.data, hole.after.size)
        add(buffer, self.ends[index].data, self.ends[index].size)
        if self.drops_first_comma[index] and buffer.size > 1 and buffer.data[0] == c"{" and buffer.data[1] == c",":
            buffer.data[1] = c"{"
            skipped = 1
        value = PyBytes_FromStringAndSize(<char*>buffer.data + skipped, buffer.size - skipped)
        empty(buffer)
        return value


cdef Text utf8_of(str value) except *:
    cdef Text text = Text(NULL, 0)
    if value is not None:
        text.data = <Bytes>PyUnicode_AsUTF8AndSize(value, &text.size)
    return text


cdef Text content_of_slot(Slots slots, int slot) noexcept:
    """Of a text; none where it is missing."""
    cdef Span* span = &slots.spans[slot]
    cdef Bytes at
    if span.start < 0:
        return Text(NULL, 0)
    at = content_of(<Bytes>PyBytes_AS_STRING(slots.data) + span.start)
    return Text(at, <Bytes>PyBytes_AS_STRING(slots.data) + span.end - at)


cdef inline int64_t number_of(int source, MessageValues* values) noexcept:
    if source == OF_AT:
        return values.at
    if source == OF_OCCURRED:
        return values.occurred
    return values.partition if source == OF_PARTITION else values.offset


cdef void write_eid(uint8_t* eid, Bytes key) noexcept:
    """As `eid` of `domain/ids.py`: the key with the bits of a uuid of version 8."""
    cdef int digit = key[16] - c"a" + 10 if key[16] >= c"a" else key[16] - c"0"
    memcpy(eid, key, 8)
    eid[8] = c"-"
    memcpy(eid + 9, key + 8, 4)
    eid[13] = c"-"
    eid[14] = c"8"
    memcpy(eid + 15, key + 13, 3)
    eid[18] = c"-"
    eid[19] = HEX[digit & 3 | 8]
    memcpy(eid + 20, key + 17, 3)
    eid[23] = c"-"
    memcpy(eid + 24, key + 20, 12)


cdef bint add_text(Buffer* buffer, Text text, int encoding) except False:
    if encoding == AS_AVRO_TEXT:
        add_avro_long(buffer, text.size)
        return add(buffer, text.data, text.size)
    if encoding == AS_JSON_TEXT:
        escape(buffer, text.data, text.data + text.size, JSON_VALUE)
        return True
    return add(buffer, text.data, text.size)


cdef bint add_number(Buffer* buffer, int64_t number, int encoding) except False:
    if encoding == AS_AVRO_LONG:
        return add_avro_long(buffer, number)
    reserve(buffer, 32)
    if encoding == AS_JSON_TIME:
        put(buffer, c'"')
        buffer.size += write_time(buffer.data + buffer.size, number)
        put(buffer, c'"')
        return True
    buffer.size += snprintf(<char*>buffer.data + buffer.size, 32, b"%lld", <long long>number)
    return True


cdef bint add_avro_long(Buffer* buffer, int64_t number) except False:
    cdef uint64_t bits = (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)
    reserve(buffer, 10)
    while bits > 0x7F:
        put(buffer, <uint8_t>(bits & 0x7F | 0x80))
        bits >>= 7
    put(buffer, <uint8_t>bits)
    return True


cdef int write_time(uint8_t* text, int64_t millis) noexcept:
    """Write milliseconds since 1970, within the years 1 to 9999, as UTC with `Z`; how many bytes."""
    cdef int64_t day = millis // 86400000
    cdef int64_t rest
    if day * 86400000 > millis:
        day -= 1
    rest = millis - day * 86400000
    write_day(text, day)
    text[10] = c"T"
    two_digits(text + 11, rest // 3600000)
    text[13] = c":"
    two_digits(text + 14, rest // 60000 % 60)
    text[16] = c":"
    two_digits(text + 17, rest // 1000 % 60)
    text[19] = c"."
    text[20] = c"0" + <uint8_t>(rest % 1000 // 100)
    two_digits(text + 21, rest % 100)
    text[23] = c"Z"
    return 24


# ---------------------------------------------------------------------------------------------------------------------
# Whole events

cdef extern from *:
    """
    // BLAKE2b (RFC 7693) without a key, of 16 bytes, as 32 hexadecimal digits: `domain/ids.py` has what it stands for.
    static const uint64_t blake2b_iv[8] = {
        0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
        0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
    };
    static const unsigned char blake2b_sigma[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    };
    static inline uint64_t rotate_right(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

    static inline void blake2b_mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
        v[a] += v[b] + x;
        v[d] = rotate_right(v[d] ^ v[a], 32);
        v[c] += v[d];
        v[b] = rotate_right(v[b] ^ v[c], 24);
        v[a] += v[b] + y;
        v[d] = rotate_right(v[d] ^ v[a], 16);
        v[c] += v[d];
        v[b] = rotate_right(v[b] ^ v[c], 63);
    }

    static uint64_t little_endian_word(const unsigned char *at) {
        uint64_t word = 0;
        for (int index = 7; index >= 0; index--) word = word << 8 | at[index];
        return word;
    }

    static void blake2b_compress(uint64_t *h, const unsigned char *block, uint64_t so_far, int is_last) {
        uint64_t v[16], m[16];
        for (int index = 0; index < 8; index++) {
            v[index] = h[index];
            v[index + 8] = blake2b_iv[index];
        }
        for (int index = 0; index < 16; index++) m[index] = little_endian_word(block + 8 * index);
        v[12] ^= so_far;
        if (is_last) v[14] = ~v[14];
        for (int round = 0; round < 12; round++) {
            const unsigned char *s = blake2b_sigma[round % 10];
            blake2b_mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
            blake2b_mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
            blake2b_mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
            blake2b_mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
            blake2b_mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
            blake2b_mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
            blake2b_mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
            blake2b_mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
        }
        for (int index = 0; index < 8; index++) h[index] ^= v[index] ^ v[index + 8];
    }

    static void hex_digest(const unsigned char *data, size_t size, unsigned char *hex) {
        uint64_t h[8];
        size_t done = 0;
        for (int index = 0; index < 8; index++) h[index] = blake2b_iv[index];
        h[0] ^= 0x01010000u ^ 16u;
        for (; size - done > 128; done += 128) blake2b_compress(h, data + done, done + 128, 0);
        unsigned char last[128] = {0};
        memcpy(last, data + done, size - done);
        blake2b_compress(h, last, size, 1);
        for (int index = 0; index < 16; index++) {
            unsigned char byte = (unsigned char)(h[index / 8] >> 8 * (index % 8));
            hex[2 * index] = "0123456789abcdef"[byte >> 4];
            hex[2 * index + 1] = "0123456789abcdef"[byte & 15];
        }
    }
    """
    void hex_digest(const uint8_t* data, size_t size, uint8_t* hex) noexcept


def hex_digest_of(bytes data not None):
    """BLAKE2b-128 of `data` as hexadecimal digits."""
    cdef uint8_t[32] digits
    hex_digest(<Bytes>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), digits)
    return PyBytes_FromStringAndSize(<char*>digits, 32)


cdef enum:
    CHECK_SYMBOL
    CHECK_AMOUNT
    CHECK_BY_PYTHON

CHECKS = {"SYMBOL": CHECK_SYMBOL, "AMOUNT": CHECK_AMOUNT, "PYTHON": CHECK_BY_PYTHON}
"""Name of a check -> its code."""

cdef extern from *:
    """
    // Whether a number of up to 16 bytes, big-endian with a sign, lies within both bounds, the extremes of which are none.
    static int is_within(const unsigned char *at, const unsigned char *end, int64_t low, int64_t high) {
        __int128 number = at < end && (*at & 0x80) ? -1 : 0;
        while (at < end) number = (__int128)((unsigned __int128)number << 8 | *at++);
        return (low == INT64_MIN || number >= low) && (high == INT64_MAX || number <= high);
    }
    """
    bint is_within(const uint8_t* at, const uint8_t* end, int64_t low, int64_t high) noexcept


cdef struct Check:
    int32_t code
    int32_t slot
    int64_t low
    int64_t high
    Text symbols  # a byte for each, 1 where it passes
    bint passes_missing


cdef struct Source:  # the record of an event, and what all outputs say of it
    Text tenant
    Text event_id
    Text topic
    int64_t at
    int64_t occurred
    int64_t partition
    int64_t offset
    Py_ssize_t propagated_bytes


cdef bint is_printable(Text text) noexcept:
    """Whether it is ASCII without control characters; of other texts Python knows."""
    cdef Py_ssize_t index
    for index in range(text.size):
        if not 0x20 <= text.data[index] <= 0x7E:
            return False
    return True


cdef str decoded(Text text):
    return None if text.data == NULL else PyUnicode_DecodeUTF8(<const char*>text.data, text.size, NULL)


cdef class NativeParts:
    """Body, subject and address of a message, each with a buffer of its own."""

    cdef NativeText body
    cdef NativeText subject
    cdef NativeText url

    def __cinit__(self, NativeText body not None, NativeText subject, NativeText url):
        self.body, self.subject, self.url = body, subject, url

    cdef bint write(self, Slots slots) except? False:
        if not self.body.write_into_buffer(slots):
            return False
        if self.subject is not None and not self.subject.write_into_buffer(slots):
            return False
        return self.url is None or self.url.write_into_buffer(slots)

    cdef void empty(self) noexcept:
        empty(&self.body.buffer)
        if self.subject is not None:
            empty(&self.subject.buffer)
        if self.url is not None:
            empty(&self.url.buffer)


cdef class NativeRoute:
    """One of those whom a template may address: the slot of their key, -1 for nobody, and how they are written to."""

    cdef int key_slot
    cdef list parts  # by language
    cdef object choose_parts  # of the slots: the index of their language's; None: there is one
    cdef object find_destination  # of the slots and a text's address; None: it is the template's
    cdef object notify

    def __cinit__(self, spec):
        """`spec` is a RouteProgram of `native_event.py`."""
        self.key_slot = spec.key_slot
        self.parts = [NativeParts(*parts) for parts in spec.parts]
        self.choose_parts, self.find_destination, self.notify = spec.choose_parts, spec.find_destination, spec.notify

    cdef NativeParts parts_of(self, Slots slots):
        cdef Py_ssize_t index = 0
        if self.choose_parts is not None:
            index = self.choose_parts(slots)
            if not 0 <= index < len(self.parts):
                raise IndexError("a language of another template")
        return <NativeParts>self.parts[index]


cdef class NativeTemplate:
    """What one template makes of the events of one name, where that is a message which is sent as it is."""

    cdef object spec
    cdef Check* checks
    cdef int check_count
    cdef list check_functions
    cdef Text name
    cdef bint is_addressed
    cdef list routes
    cdef int kind_slot
    cdef int kind_count
    cdef tuple holder_slots
    cdef object is_subscribed
    cdef object draft  # of the slots: why there is no message, or what is no `skipped_class`
    cdef type skipped_class
    cdef tuple missing  # of the last message: parts that no reference row gave
    cdef Text destination  # none: a route finds it
    cdef Text none_missing
    cdef Py_ssize_t body_limit
    cdef Py_ssize_t subject_limit
    cdef object subject_line
    cdef list records  # of each output: topic, limit in bytes, the topic's partitions or 0, headers and their bytes
    cdef dict writers  # (route, kind) -> NativeOutputs; None: refused
    cdef object make_outputs
    cdef int slot_count
    cdef Buffer buffer

    def __cinit__(self, spec):
        """`spec` is a TemplateProgram of `native_event.py`."""
        cdef int index
        self.spec = spec
        self.check_count = len(spec.checks)
        self.checks = <Check*>PyMem_Calloc(self.check_count + 1, sizeof(Check))
        if self.checks == NULL:
            raise MemoryError
        reserve(&self.buffer, FIRST_BUFFER_BYTES)
        self.check_functions = [check.passes for check in spec.checks]
        for index, check in enumerate(spec.checks):
            self.checks[index] = Check(
                check.code, check.slot, check.low, check.high, text_of(check.symbols), check.passes_missing
            )
        self.name = text_of(<bytes?>spec.name)
        self.is_addressed = spec.is_addressed
        self.routes = [NativeRoute(route) for route in spec.routes]
        self.kind_slot, self.kind_count = spec.kind_slot, spec.kind_count
        self.holder_slots, self.is_subscribed = spec.holder_slots, spec.is_subscribed
        self.draft, self.skipped_class = spec.draft, spec.skipped_class
        self.destination, self.none_missing = text_of(spec.destination), text_of(<bytes?>spec.none_missing)
        self.body_limit, self.subject_limit, self.subject_line = spec.body_limit, spec.subject_limit, spec.subject_line
        self.records = list(spec.records)
        self.writers, self.make_outputs = {}, spec.make_outputs
        slots = [self.kind_slot, *self.holder_slots, *[route.key_slot for route in spec.routes]]
        self.slot_count = 1 + max(*slots, *[check.slot for check in spec.checks], -1)

    def __dealloc__(self):
        PyMem_Free(self.checks)
        PyMem_Free(self.buffer.data)

    cdef Py_ssize_t write(
        self, Slots slots, Source* source, bytes key, tuple propagated, list outputs, list skipped
    ) except -2:
        """Add the outputs, or to `skipped` why there are none; how many bytes they have, or -1, refused."""
        cdef int number = 0
        cdef NativeRoute route
        cdef NativeParts parts
        cdef Text recipient = Text(NULL, 0)
        self.missing = ()
        if slots.count < self.slot_count:
            raise IndexError("slots of another program")
        if not self.passes(slots):
            return self.skip(slots, skipped)
        for found in self.routes:
            route = <NativeRoute>found
            if route.key_slot < 0 or slots.spans[route.key_slot].start >= 0:
                break
            number += 1
        else:
            return self.skip(slots, skipped)
        if route.key_slot >= 0:
            recipient = content_of_slot(slots, route.key_slot)
        if not self.may_be_told(slots):
            return self.skip(slots, skipped)
        writer = self.writer_of(slots, number)
        if writer is None:
            return -1
        parts = route.parts_of(slots)
        try:
            return self.write_message(
                route, parts, recipient, <NativeOutputs>writer, slots, source, key, propagated, outputs
            )
        finally:
            parts.empty()

    cdef Py_ssize_t write_message(
        self,
        NativeRoute route,
        NativeParts parts,
        Text recipient,
        NativeOutputs writer,
        Slots slots,
        Source* source,
        bytes key,
        tuple propagated,
        list outputs,
    ) except -2:
        """Add the outputs of a message to `recipient`; how many bytes they have, or -1, refused."""
        cdef MessageValues values
        cdef uint8_t[32] digits
        cdef str subject = None
        cdef str destination = None
        cdef bytes notification = None
        if not parts.write(slots):
            return -1
        if self.body_limit and parts.body.buffer.size > self.body_limit and parts.body.characters() > self.body_limit:
            return -1
        values.texts[OF_RECIPIENT] = recipient
        self.write_key(source, recipient, digits)
        values.texts[OF_KEY] = Text(&digits[0], 32)
        write_eid(values.eid, &digits[0])
        values.texts[OF_EID] = Text(&values.eid[0], 36)
        values.texts[OF_BODY] = Text(parts.body.buffer.data, parts.body.buffer.size)
        values.texts[OF_CAUSE] = values.texts[OF_SUBJECT] = Text(NULL, 0)
        if parts.subject is not None:
            values.texts[OF_SUBJECT] = Text(parts.subject.buffer.data, parts.subject.buffer.size)
            if parts.subject.buffer.size > self.subject_limit or not is_printable(values.texts[OF_SUBJECT]):
                subject = self.subject_line(parts.subject.decoded())
                values.texts[OF_SUBJECT] = utf8_of(subject)
        values.texts[OF_DESTINATION] = self.destination
        if route.find_destination is not None:
            destination = route.find_destination(slots, None if parts.url is None else parts.url.decoded())
            if destination is None:
                return -1
            values.texts[OF_DESTINATION] = utf8_of(destination)
        values.texts[OF_MISSING] = self.none_missing
        if route.notify is not None:
            found = route.notify(
                slots,
                PyUnicode_DecodeUTF8(<const char*>digits, 32, NULL),
                decoded(values.texts[OF_RECIPIENT]),
                (decoded(values.texts[OF_SUBJECT]), parts.body.decoded()),
                destination,
                source.at,
            )
            if found is None:
                return -1
            self.missing, missing, notification = found
            values.texts[OF_MISSING] = text_of(<bytes?>missing)
        values.topic = source.topic
        values.at, values.occurred = source.at, source.occurred
        values.partition, values.offset = source.partition, source.offset
        return self.write_records(writer, slots, source, &values, notification, key, propagated, outputs)

    cdef Py_ssize_t skip(self, Slots slots, list skipped) except -2:
        """Nothing is made, for a reason that the plan finds; -1, refused, where it finds none."""
        found = self.draft(slots)
        if type(found) is not self.skipped_class:
            return -1
        skipped.append(found)
        return 0

    cdef bint passes(self, Slots slots) except? False:
        """Whether it passes the checks of the event itself."""
        cdef int index
        cdef Check* check
        cdef Span* span
        cdef Bytes base = <Bytes>PyBytes_AS_STRING(slots.data)
        cdef uint64_t symbol
        for index in range(self.check_count):
            check = &self.checks[index]
            if check.code == CHECK_BY_PYTHON:
                if not self.check_functions[index](slots):
                    return False
                continue
            span = &slots.spans[check.slot]
            if span.start < 0:
                if not check.passes_missing:
                    return False
            elif check.code == CHECK_AMOUNT:
                if not is_within(base + span.start + 1, base + span.end, check.low, check.high):
                    return False
            else:
                symbol = zig_zag_bits(base + span.start, base + span.end) >> 1
                if symbol >= <uint64_t>check.symbols.size or not check.symbols.data[symbol]:
                    return False
        return True

    cdef bint may_be_told(self, Slots slots) except? False:
        """Whether the holder has not opted out, where rows say so."""
        cdef int slot
        cdef Text holder
        if self.is_subscribed is None:
            return True
        for slot in self.holder_slots:
            holder = content_of_slot(slots, slot)
            if holder.data != NULL:
                return self.is_subscribed(PyUnicode_DecodeUTF8(<const char*>holder.data, holder.size, NULL))
        return True

    cdef object writer_of(self, Slots slots, int route):
        """The outputs that have the fields which this event's have; None: refused."""
        cdef int kind = 0
        cdef Span* span
        if self.kind_slot >= 0:
            span = &slots.spans[self.kind_slot]
            if span.start >= 0:
                base = <Bytes>PyBytes_AS_STRING(slots.data)
                kind = 1 + <int>(zig_zag_bits(base + span.start, base + span.end) >> 1)
        variant = route * (self.kind_count + 1) + kind
        writer = self.writers.get(variant, self)
        if writer is self:
            writer = self.writers[variant] = <NativeOutputs>self.make_outputs(route, kind - 1)
        return writer

    cdef bint write_key(self, Source* source, Text recipient, uint8_t* digits) except False:
        """As `encoded_key`, of no past operation."""
        cdef Buffer* buffer = &self.buffer
        buffer.size = 0
        reserve(buffer, source.tenant.size + source.event_id.size + self.name.size + recipient.size + 3)
        put_text(buffer, <const char*>source.tenant.data, source.tenant.size)
        put(buffer, 0x1F)
        put_text(buffer, <const char*>source.event_id.data, source.event_id.size)
        put(buffer, 0x1F)
        put_text(buffer, <const char*>self.name.data, self.name.size)
        put(buffer, 0x1F)
        if self.is_addressed:
            put_text(buffer, <const char*>recipient.data, recipient.size)
        hex_digest(buffer.data, buffer.size, digits)
        empty(buffer)
        return True

    cdef Py_ssize_t write_records(
        self,
        NativeOutputs writer,
        Slots slots,
        Source* source,
        MessageValues* values,
        bytes notification,
        bytes record_key,
        tuple propagated,
        list outputs,
    ) except -2:
        cdef int index, count = writer.program_count + (notification is not None)
        cdef Py_ssize_t size, total = 0
        cdef int64_t partitions
        cdef bytes value
        if slots.count < writer.slot_count or count > len(self.records):
            raise IndexError("outputs of another program")
        key = PyBytes_FromStringAndSize(<const char*>values.texts[OF_KEY].data, 32)
        for index in range(count):
            topic, limit, partitions, headers, headers_bytes = <tuple?>self.records[index]
            if index < writer.program_count:
                value = writer.write_output(index, slots, values)
            else:
                value = notification
            if propagated:
                headers = propagated + headers
            size = PyBytes_GET_SIZE(value) + source.propagated_bytes + <Py_ssize_t>headers_bytes
            if partitions:  # a stream, which has fewer of them than the events
                size += PyBytes_GET_SIZE(record_key)
                outputs.append((topic, source.partition % partitions, record_key, value, headers))
            else:
                size += 32
                outputs.append((topic, source.partition, key, value, headers))
            if size > <Py_ssize_t>limit:
                return -1
            total += size
        return total


cdef class NativeEvent:
    """All templates for the events of one name."""

    cdef list templates
    cdef tuple key_slots
    cdef object make_made
    cdef dict made  # by which templates were skipped, and what is missing

    def __cinit__(self, list templates, tuple key_slots, make_made):
        """`key_slots`: the first that has a text is the ordering key; `make_made` gives what stands for the messages,
        of the indexes of templates that were skipped, and of the parts that no reference row gave."""
        self.templates = [<NativeTemplate?>template for template in templates]
        self.key_slots, self.make_made, self.made = key_slots, make_made, {}

    cdef object made_of(self, tuple skipped):
        """What was made last; `skipped` has the indexes of the others."""
        cdef tuple missing = ()
        for template in self.templates:
            if (<NativeTemplate>template).missing:
                missing += (<NativeTemplate>template).missing
        key = missing if not skipped else (skipped, missing)
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = self.make_made(skipped, missing)
        return made


cdef inline tuple fields_of(object named, Py_ssize_t count):
    """A named tuple as a tuple; TypeError unless it has `count` fields. Cython unpacks a subclass by an iterator, which
    is slower."""
    if not PyTuple_Check(named) or PyTuple_GET_SIZE(named) != count:
        raise TypeError(f"not {count} fields: {type(named)}")
    return <tuple>named


cdef struct Places:  # slots
    int tenant
    int name
    int event_id
    int occurred
    int client
    int group


cdef class NativeEvents:
    """The events of one writer's schema, from their records to their outputs, many in one call."""

    cdef NativeScan scan
    cdef Slots slots
    cdef bytes tenant
    cdef Places places
    cdef int most_holders
    cdef int least_holders
    cdef object is_consistent  # of a name's symbol and the slots; None: the number of holders says it
    cdef list events  # by the symbol of their name; None: refused, False: not made yet
    cdef object make_event
    cdef type seen_class
    cdef Py_ssize_t max_event_bytes
    cdef int64_t last_time_ms
    cdef object propagate
    cdef object add_decision
    cdef object topic  # of the last record, and its UTF-8
    cdef bytes topic_utf8
    cdef object made  # of the last record
    cdef bint is_running

    def __cinit__(self, NativeScan scan not None, spec):
        """`spec` is an EventsProgram of `native_event.py`."""
        cdef int slot
        self.scan = scan
        self.slots = scan.new_slots()
        self.tenant = spec.tenant
        for slot in spec.places:
            if not -1 <= slot < self.slots.count:
                raise ValueError(f"slot {slot} of {self.slots.count}")
        tenant, name, event_id, occurred, client, group = spec.places
        self.places = Places(tenant, name, event_id, occurred, client, group)
        self.max_event_bytes, self.last_time_ms = spec.max_event_bytes, spec.last_time_ms
        self.propagate, self.add_decision = spec.propagate, spec.add_decision
        self.most_holders, self.least_holders = spec.most_holders, spec.least_holders
        self.events, self.make_event = [False] * spec.event_count, spec.make_event
        self.is_consistent, self.seen_class = spec.is_consistent, spec.seen_class
        if not issubclass(self.seen_class, tuple):
            raise TypeError(f"not a named tuple: {self.seen_class}")

    def write(self, list records not None, Py_ssize_t first, run not None, admit not None, Py_ssize_t limit_bytes):
        """Add the outputs of records (SourceRecord), from index `first` on, to those of `run` (PlannedRun), as tuples of
        topic, partition, key, value and headers, until one is refused, or of another schema, or `run` has
        `limit_bytes`. Where this raises, `run` has the records before.

        `admit` gets what deduplication remembers of an event (`seen_class`), and what was made of it; false: refused.
        """
        cdef Py_ssize_t index, count, size
        cdef list outputs = run.outputs
        cdef dict messages = run.messages
        cdef Py_ssize_t output_bytes = run.output_bytes
        cdef Bytes frame = NULL
        if self.is_running:
            raise RuntimeError("records are written while others are being written")
        self.is_running = True
        index = first
        try:
            while 0 <= index < len(records) and output_bytes < limit_bytes:
                count = len(outputs)
                size = -1
                try:
                    size = self.write_record(records[index], &frame, outputs, admit)
                finally:
                    if size < 0:
                        del outputs[count:]
                if size < 0:
                    break
                index += 1
                output_bytes += size
                messages[self.made] = messages.get(self.made, 0) + 1
        finally:
            self.is_running = False
            if index > first:
                run.record_count += index - first
                run.output_bytes = output_bytes
                run.last = records[index - 1].position

    cdef Py_ssize_t write_record(self, record, Bytes* frame, list outputs, admit) except -2:
        """How many bytes the outputs of one record have, and `made` what was made of it; -1: refused."""
        cdef bytes value, key
        cdef Py_ssize_t size
        cdef int64_t time_ms
        cdef tuple fields = fields_of(record, 7)  # a SourceRecord
        position, timestamp, record_key, record_value, propagated, headers_error, _ = fields
        if type(record_value) is not bytes or type(record_key) is not bytes or headers_error:
            return -1
        value, key, time_ms, size = record_value, record_key, timestamp, PyBytes_GET_SIZE(<bytes>record_value)
        if not FRAME_BYTES < size <= self.max_event_bytes or not 0 <= time_ms <= self.last_time_ms:
            return -1
        if frame[0] == NULL:
            frame[0] = <Bytes>PyBytes_AS_STRING(value)  # `records` holds its bytes
        elif memcmp(frame[0], PyBytes_AS_STRING(value), FRAME_BYTES) != 0:
            return -1
        if propagated:
            propagated = self.propagate(record)
            if propagated is None:
                return -1
        topic, partition, offset = fields_of(position, 3)
        if topic is not self.topic:
            self.topic, self.topic_utf8 = topic, (<str?>topic).encode()
        return self.write_event(record, value, key, partition, offset, time_ms, propagated, outputs, admit)

    cdef Py_ssize_t write_event(
        self,
        record,
        bytes data,
        bytes key,
        int64_t partition,
        int64_t offset,
        int64_t time_ms,
        tuple propagated,
        list outputs,
        admit,
    ) except -2:
        cdef Slots slots = self.slots
        cdef int holders = 0
        cdef Py_ssize_t size, total = 0
        cdef int64_t micros
        cdef uint64_t symbol
        cdef Source source
        cdef NativeEvent event
        cdef Span* span
        cdef Text text
        cdef Places* places = &self.places
        if not self.scan.fill(slots, data, FRAME_BYTES):
            return -1
        source.tenant = content_of_slot(slots, places.tenant)
        if not is_equal(source.tenant, self.tenant):
            return -1
        if places.client >= 0:
            holders += slots.spans[places.client].start >= 0
        if places.group >= 0:
            holders += slots.spans[places.group].start >= 0
        if not self.least_holders <= holders <= self.most_holders:
            return -1
        base = <Bytes>PyBytes_AS_STRING(data)
        span = &slots.spans[places.name]
        symbol = zig_zag_bits(base + span.start, base + span.end) >> 1
        found = self.event_of(symbol)
        if found is None or (self.is_consistent is not None and not self.is_consistent(symbol, slots)):
            return -1
        event = <NativeEvent>found
        text = Text(NULL, 0)
        for slot in event.key_slots:
            text = content_of_slot(slots, slot)
            if text.data != NULL:
                break
        if text.size == 0 or not is_equal(text, key):
            return -1
        source.event_id = content_of_slot(slots, places.event_id)
        span = &slots.spans[places.occurred]
        micros = read_number(base + span.start, base + span.end)
        source.occurred = micros // 1000 - (micros % 1000 < 0)
        source.topic = text_of(self.topic_utf8)
        source.at, source.partition, source.offset = time_ms, partition, offset
        source.propagated_bytes = 0
        for name, value in propagated:
            source.propagated_bytes += len(name) + len(value)
        skipped, indexes = [], ()
        for index, template in enumerate(event.templates):
            size = (<NativeTemplate>template).write(slots, &source, key, propagated, outputs, skipped)
            if size < 0:
                return -1
            if size == 0:
                indexes += (index,)
            total += size
        self.made = event.made_of(indexes)
        if indexes:
            decided = self.add_decision(record, slots, self.made, tuple(skipped), propagated)
            if decided is None:
                return -1
            self.made, decision, size = decided
            outputs += decision
            total += size
        seen = named_tuple(self.seen_class, (offset, time_ms, identity_of(&source)))
        if not admit(seen, self.made):
            return -1
        return total

    cdef object event_of(self, uint64_t symbol):
        """The templates for a name; None: refused."""
        if symbol >= <uint64_t>len(self.events):
            return None
        event = self.events[symbol]
        if event is False:
            event = self.events[symbol] = self.make_event(symbol)
            if event is not None:
                event = <NativeEvent?>event
        return event


cdef inline bint is_equal(Text text, bytes other) noexcept:
    return text.size == PyBytes_GET_SIZE(other) and memcmp(text.data, PyBytes_AS_STRING(other), text.size) == 0


cdef bytes identity_of(Source* source):
    """As `identity_of` of `domain/event.py`."""
    cdef Py_ssize_t size = source.tenant.size
    cdef bytes identity = PyBytes_FromStringAndSize(NULL, size + 1 + source.event_id.size)
    cdef char* at = PyBytes_AS_STRING(identity)
    memcpy(at, source.tenant.data, size)
    at[size] = 0x1F
    memcpy(at + size + 1, source.event_id.data, source.event_id.size)
    return identity
