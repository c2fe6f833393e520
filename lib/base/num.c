#include "base/base.h"

bool parse_u64(struct slice s, uint64_t *number_ret)
{
	uint64_t number = 0;

	if (!s.len)
		return false;
	for (uint32_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]) || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(s.ptr[i] - '0'), &number))
			return false;
	*number_ret = number;
	return true;
}

bool parse_i64(struct slice s, int64_t *number_ret)
{
	bool minus = s.len && s.ptr[0] == '-';
	uint64_t number;

	if (s.len && (minus || s.ptr[0] == '+'))
		s = slice_from(s, 1);
	if (!parse_u64(s, &number) || number > (uint64_t)INT64_MAX + minus)
		return false;
	*number_ret = minus ? (int64_t)(0 - number) : (int64_t)number;
	return true;
}
