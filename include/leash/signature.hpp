// What parameters a callable declares: whether a call of it makes temporaries.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace leash {

/// A reference parameter P that is given an A&& or A&: not to it, nor to a part of it, but to a temporary made from it.
template <class P, class A>
inline constexpr bool binds_to_temporary =
    std::is_reference_v<P> && !std::is_convertible_v<std::remove_reference_t<A>*, std::remove_reference_t<P>*>;

template <class... P>
struct parameter_list {
  template <class... A>
  static constexpr bool bind_to_temporaries() noexcept {
    if constexpr (sizeof...(P) == sizeof...(A)) {
      return (binds_to_temporary<P, A> || ...);
    } else {
      return true;  // default arguments, or C's ellipsis
    }
  }
};

/// The parameters that F declares; void: it is overloaded, or a template.
template <class F>
struct parameters_of {
  using type = void;
};
template <class F>
  requires requires { &F::operator(); }
struct parameters_of<F> {
  using type = typename parameters_of<decltype(&F::operator())>::type;
};
template <class R, class... P>
struct parameters_of<R (*)(P...)> {
  using type = parameter_list<P...>;
};
template <class R, class... P>
struct parameters_of<R (*)(P...) noexcept> {
  using type = parameter_list<P...>;
};
#define LEASH_MEMBER(qualifiers)                             \
  template <class R, class C, class... P>                    \
  struct parameters_of<R (C::*)(P...) qualifiers> {          \
    using type = parameter_list<P...>;                       \
  };                                                         \
  template <class R, class C, class... P>                    \
  struct parameters_of<R (C::*)(P...) qualifiers noexcept> { \
    using type = parameter_list<P...>;                       \
  };
LEASH_MEMBER()
LEASH_MEMBER(const)
LEASH_MEMBER(&)
LEASH_MEMBER(const&)
LEASH_MEMBER(&&)
LEASH_MEMBER(const&&)
#undef LEASH_MEMBER

/// What std::invoke calls a member function on: the object, or what it points to.
template <class C>
struct class_of_member;
template <class M, class C>
struct class_of_member<M C::*> {
  using type = C;
};
template <class F, class O>
decltype(auto) member_owner(O&& object) {
  if constexpr (std::is_base_of_v<typename class_of_member<F>::type, std::remove_cvref_t<O>>) {
    return std::forward<O>(object);
  } else {
    return *std::forward<O>(object);
  }
}

/// A call of F with arguments of these types (A, or A& for an lvalue) may make temporaries, which a task that it returns
/// could refer to.
template <class F, class... A>
constexpr bool may_make_temporaries() noexcept {
  if constexpr (sizeof...(A) == 0) {
    return false;
  } else if constexpr (std::is_member_function_pointer_v<F>) {
    return []<class Object, class... Rest>(std::type_identity<Object>, std::type_identity<Rest>...) {
      return parameters_of<F>::type::template bind_to_temporaries<Rest...>();
    }(std::type_identity<A>()...);
  } else if constexpr (std::is_void_v<typename parameters_of<F>::type>) {
    return true;
  } else {
    return parameters_of<F>::type::template bind_to_temporaries<A...>();
  }
}

}  // namespace leash
