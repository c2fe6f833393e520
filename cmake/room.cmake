# room(NAME USES room... LINKS library... WITHOUT source...)
#
# A room is a folder below lib/ with one public door, lib/NAME/NAME.h, included as "NAME/NAME.h". Its
# private headers are included by their bare name, which only works inside the folder. The door of each
# room is reached through an include directory of its own, so a room sees exactly what it USES.
#
# Unit tests live in tests/unit/NAME/test_*.c: one executable each, linked with the room and cmocka; they
# may also include the room's private headers, as "NAME/header.h".
function(room name)
	cmake_parse_arguments(R "" "" "USES;LINKS;WITHOUT" ${ARGN})
	set(dir ${CMAKE_SOURCE_DIR}/lib/${name})
	set(door ${CMAKE_BINARY_DIR}/doors/${name})
	file(MAKE_DIRECTORY ${door})
	file(CREATE_LINK ${dir} ${door}/${name} SYMBOLIC)
	file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c ${dir}/*.S)
	foreach(source ${R_WITHOUT})
		list(REMOVE_ITEM sources ${dir}/${source})
	endforeach()
	if(sources)
		add_library(${name} STATIC ${sources})
		set(scope PUBLIC)
	else()
		add_library(${name} INTERFACE)
		set(scope INTERFACE)
	endif()
	target_include_directories(${name} ${scope} ${door})
	target_link_libraries(${name} ${scope} ${R_USES} ${R_LINKS})

	file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${name}/test_*.c)
	foreach(test ${tests})
		get_filename_component(stem ${test} NAME_WE)
		set(target unit_${name}_${stem})
		add_executable(${target} ${test})
		target_link_libraries(${target} PRIVATE ${name} PkgConfig::CMOCKA)
		set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
		add_test(NAME unit/${name}/${stem} COMMAND ${target})
		set_tests_properties(unit/${name}/${stem} PROPERTIES TIMEOUT 120)
	endforeach()
endfunction()
