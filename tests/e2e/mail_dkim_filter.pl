# Mail::DKIM as a peer of tests. First argument: a file of keys, "name record". "verify\tSIZE" and "arc\tSIZE" with a message are
# answered with a result; "sign..." and "seal\tDOMAIN\tSELECTOR\tKEYFILE\tHEADER\tBODY\tSIZE" with the fields that were made.
use strict;
use warnings;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Mail::DKIM::ARC::Signer;
use Mail::DKIM::ARC::Verifier;
use Mail::DKIM::PublicKey;

my %keys;

sub read_keys {
	open my $f, '<', $ARGV[0] or die;
	while (<$f>) { chomp; my ($name, $record) = split / /, $_, 2; $keys{$name} = $record; }
}

{
	no warnings 'redefine';
	*Mail::DKIM::PublicKey::fetch_async = sub {
		my ($class, %prms) = @_;
		my $name = "$prms{Selector}._domainkey.$prms{Domain}";
		read_keys();
		my $result = exists $keys{$name} ? $class->parse($keys{$name}) : undef;
		$prms{Callbacks}{Success}->($result) if $prms{Callbacks} && $prms{Callbacks}{Success};
		return sub { die "public key: not available\n" unless $result; $result };
	};
}
read_keys();
binmode STDIN;
binmode STDOUT;
$| = 1;
while (my $line = <STDIN>) {
	chomp $line;
	my @words = split /\t/, $line;
	read(STDIN, my $message, $words[-1]) == $words[-1] or last;
	if ($words[0] eq 'verify' || $words[0] eq 'arc') {
		my $dkim = $words[0] eq 'arc' ? Mail::DKIM::ARC::Verifier->new() : Mail::DKIM::Verifier->new();
		eval { $dkim->PRINT($message); $dkim->CLOSE; };
		print $@ ? "error $@" : ($dkim->result . "\n");
		next;
	}
	my %options = (Domain => $words[1], Selector => $words[2], KeyFile => $words[3]);
	my $dkim = $words[0] eq 'seal'
		? Mail::DKIM::ARC::Signer->new(Algorithm => 'rsa-sha256', Chain => 'ar', SrvId => $words[1], %options)
		: Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => "$words[4]/$words[5]", %options);
	$dkim->PRINT($message);
	$dkim->CLOSE;
	my $text = $words[0] eq 'seal' ? join('', map { "$_\r\n" } $dkim->as_strings) : $dkim->signature->as_string . "\r\n";
	print length($text) . "\n$text";
}
