package main

import (
	"math/big"
	"strconv"
)

const (
	scale     = 10             // of every amount in the schemas
	scaleUnit = 10_000_000_000 // 10 to the power of scale
)

// currencyDigits has the currencies whose ISO 4217 minor unit is not 2.
var currencyDigits = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

// isPositive reports whether an amount is more than zero.
func isPositive(amount []byte) bool {
	if len(amount) == 0 || amount[0]&0x80 != 0 {
		return false
	}
	for _, b := range amount {
		if b != 0 {
			return true
		}
	}
	return false
}

// appendMoney appends an amount with at least the digits of its currency; further ones stay unless zero.
func appendMoney(text []byte, amount []byte, currency string) []byte {
	negative, whole, fraction := split(amount)
	if negative {
		text = append(text, '-')
	}
	text = append(text, whole...)
	digits, isKnown := currencyDigits[currency]
	if !isKnown {
		digits = 2
	}
	var decimals [scale]byte
	shown := 0
	for at := scale - 1; at >= 0; at-- {
		decimals[at] = byte('0' + fraction%10)
		if shown == 0 && decimals[at] != '0' {
			shown = at + 1
		}
		fraction /= 10
	}
	shown = max(shown, digits)
	if shown == 0 {
		return text
	}
	return append(append(text, '.'), decimals[:shown]...)
}

// split takes an amount apart: its sign, the digits before the point, and what is behind it in units of the scale.
func split(amount []byte) (negative bool, whole string, fraction uint64) {
	if len(amount) <= 8 {
		var number int64
		if len(amount) > 0 && amount[0]&0x80 != 0 {
			number = -1
		}
		for _, b := range amount {
			number = number<<8 | int64(b)
		}
		unsigned := uint64(number)
		if number < 0 {
			unsigned = -unsigned
		}
		return number < 0, strconv.FormatUint(unsigned/scaleUnit, 10), unsigned % scaleUnit
	}
	number := new(big.Int).SetBytes(amount)
	if negative = amount[0]&0x80 != 0; negative {
		number.Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*len(amount))), number)
	}
	quotient, remainder := new(big.Int).QuoRem(number, big.NewInt(scaleUnit), new(big.Int))
	return negative, quotient.String(), remainder.Uint64()
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends a text as it stands within the quotes of JSON. Only what JSON demands is escaped.
func appendEscaped(escaped []byte, text string) []byte {
	begin := 0
	for at := 0; at < len(text); at++ {
		char := text[at]
		if char >= ' ' && char != '"' && char != '\\' {
			continue
		}
		escaped = append(escaped, text[begin:at]...)
		begin = at + 1
		switch char {
		case '"', '\\':
			escaped = append(escaped, '\\', char)
		case '\n':
			escaped = append(escaped, '\\', 'n')
		case '\r':
			escaped = append(escaped, '\\', 'r')
		case '\t':
			escaped = append(escaped, '\\', 't')
		case '\b':
			escaped = append(escaped, '\\', 'b')
		case '\f':
			escaped = append(escaped, '\\', 'f')
		default:
			escaped = append(escaped, '\\', 'u', '0', '0', hexDigits[char>>4], hexDigits[char&0xf])
		}
	}
	return append(escaped, text[begin:]...)
}
