#!/bin/bash
# Makes the certificates and OCSP responses beside it, which the unit tests read: run it in this folder when one more is needed.
# Nothing here ends in less than a hundred years; tests that want something to have ended bring a clock of their own.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"; }
DAYS=36500

# issue NAME SUBJECT SERIAL DAYS EXTENSIONS [CA]
issue()
{
	local name=$1 subject=$2 serial=$3 days=$4 ext=$5 ca=${6:-ca}
	key "$name"
	openssl req -new -key "$work/$name.key" -subj "$subject" -utf8 -out "$work/req"
	printf '%b\n' "$ext" >"$work/ext"
	openssl x509 -req -in "$work/req" -CA "$ca.pem" -CAkey "$work/$ca.key" -set_serial "$serial" -days "$days" \
		-extfile "$work/ext" -out "$name.pem" 2>/dev/null
}
authority()
{
	key "$1"
	openssl req -x509 -new -key "$work/$1.key" -subj "$2" -days $DAYS -out "$1.pem"
}
authority ca "/O=Test/CN=Test Authority"
authority other "/O=Test/CN=Other Authority"
issue leaf "/C=DE/O=Test, Inc./OU=Unit+CN=leaf.example.org" 0x1001 $DAYS \
	"subjectAltName=DNS:leaf.example.org,DNS:*.wild.example.org,email:post@example.org,IP:192.0.2.1,IP:2001:db8::1,URI:https://example.org/\nauthorityInfoAccess=OCSP;URI:http://ocsp.example.org/one,OCSP;URI:http://ocsp.example.org/two\ncrlDistributionPoints=URI:http://crl.example.org/ca.crl"
issue cnonly "/CN=cnonly.example.org" 0x1002 $DAYS "basicConstraints=CA:FALSE"
issue mailsan "/CN=mailsan.example.org" 0x1003 $DAYS "subjectAltName=email:post@example.org"
issue idn "/CN=ignored.example.org" 0x1004 $DAYS "subjectAltName=DNS:xn--bcher-kva.example"
issue delegate "/CN=Responder" 0x1005 $DAYS "extendedKeyUsage=OCSPSigning"
issue short "/CN=Short Responder" 0x1006 10 "extendedKeyUsage=OCSPSigning"
issue nopurpose "/CN=No Responder" 0x1007 $DAYS "extendedKeyUsage=serverAuth"
issue foreign "/CN=Foreign Responder" 0x1008 $DAYS "extendedKeyUsage=OCSPSigning" other
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/rsaca.key" -subj "/CN=RSA Authority" -days $DAYS -out rsaca.pem 2>/dev/null
issue rsaleaf "/CN=rsaleaf.example.org" 0x2001 $DAYS "subjectAltName=DNS:rsaleaf.example.org" rsaca

# (facts.pem is older than this file: Exim 4.98 was asked what it says of it.)
end=20991231235959Z
printf 'V\t%s\t\t1001\tunknown\t/CN=leaf\n' $end >"$work/good"
printf 'R\t%s\t240101000000Z,keyCompromise\t1001\tunknown\t/CN=leaf\n' $end >"$work/revoked"
printf 'V\t%s\t\t7777\tunknown\t/CN=nobody\n' $end >"$work/unknown"
printf 'V\t%s\t\t2001\tunknown\t/CN=rsaleaf\n' $end >"$work/rsagood"
# answer NAME INDEX SIGNER [OPTION...]
answer()
{
	local name=$1 index=$2 signer=$3 leaf=${LEAF:-leaf} ca=${CA:-ca}
	shift 3
	openssl ocsp -index "$work/$index" -CA $ca.pem -rsigner "$signer.pem" -rkey "$work/$signer.key" -issuer $ca.pem \
		-cert $leaf.pem -respout "$name.der" "$@" >/dev/null 2>&1
}
answer good good ca -ndays $DAYS
answer bykey good ca -ndays $DAYS -resp_key_id
answer revoked revoked ca -ndays $DAYS
answer unknown unknown ca -ndays $DAYS
answer nonext good ca
answer delegated good delegate -ndays $DAYS
answer shortlived good short -ndays $DAYS
answer nopurpose good nopurpose -ndays $DAYS
answer foreign good foreign -ndays $DAYS
CA=rsaca LEAF=rsaleaf answer rsagood rsagood rsaca -ndays $DAYS
printf '\x30\x03\x0a\x01\x03' >trylater.der
{ echo "a remark"; echo "-----BEGIN OCSP RESPONSE-----"; base64 -w 64 good.der; echo "-----END OCSP RESPONSE-----"; } >good.pem.txt

# A list of revoked certificates that has the leaf's number, and another; by a key of its own, for that is not looked at.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout crl.key -out crl.ca -subj "/O=Test/CN=Test Authority" -days 3650
printf 'R\t351231235959Z\t260101000000Z,keyCompromise\t%s\tunknown\t/CN=x\nR\t351231235959Z\t260101000000Z\t1234\tunknown\t/CN=y\n' \
	"$(openssl x509 -in leaf.pem -noout -serial | cut -d= -f2)" >crl.index
echo 1000 >crl.number
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=crl.index\ncrlnumber=crl.number\ndefault_md=sha256\ndefault_crl_days=3650\n' >crl.conf
openssl ca -config crl.conf -gencrl -cert crl.ca -keyfile crl.key -out revoked.crl.pem
openssl crl -in revoked.crl.pem -outform DER -out revoked.crl
rm -f crl.*
